package integration_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCredentialsInTheWordsOfAll: a client of the hello dialect gets its job's credentials with the acceptance, and its principal
// those of a job that runs with a subscription; nobody else does, nor who has not negotiated them (rules 16, 98, 100).
func TestCredentialsInTheWordsOfAll(t *testing.T) {
	_, i, e := newCredentialStack(t)
	h := openHello(t, e.url, "T", aliceToken)
	lease := obj{"cost.budget": []any{"USD:0.5"}, "model.use": []any{"fast/*"}}
	job := h.submit(obj{"agent": "sleep", "input": obj{"ms": 60_000}, "lease_request": lease}).Payload()
	id := "cred-" + job.Str("job_id")
	credentials := []any{obj{
		"id": id, "scheme": "bearer", "value": "sk-secret-of-" + id, "endpoint": "https://gateway.test/v1", "profile": "openai",
		"constraints": obj{
			"cost.budget": []any{"USD:0.5"}, "model.use": []any{"fast/*"}, "allowed_models": []any{"fast/*"},
			"max_spend": obj{"currency": "USD", "amount": 0.5},
		},
	}}
	require.Equal(t, credentials, job["credentials"])
	h.event("status")

	subscribe := obj{"job_id": job.Str("job_id"), "history": true}
	watcher := openHello(t, e.url, "G", aliceToken)
	watcher.send("job.subscribe", subscribe)
	require.Equal(t, credentials, watcher.expect("job.subscribed").Payload()["credentials"])
	watcher.event("status")
	plain := dialHello(t, e.url, "G")
	plain.helloWith(aliceToken, "subscribe")
	plain.send("job.subscribe", subscribe)
	require.NotContains(t, plain.expect("job.subscribed").Payload(), "credentials")
	plain.event("status")
	require.NotContains(t, plain.submit(obj{"agent": "echo", "input": 1, "lease_request": lease}).Payload(), "credentials")

	h.send("job.cancel", obj{}, "job_id", job.Str("job_id"))
	h.expect("job.cancelled")
	h.expect("job.error")
	i.allRevoked(t)
	watcher.expect("job.error")
	watcher.send("job.subscribe", subscribe)
	require.NotContains(t, watcher.expect("job.subscribed").Payload(), "credentials", "they are good no more")
}
