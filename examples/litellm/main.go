// Command litellm is a credential endpoint in front of a LiteLLM proxy: a job with a lease gets a virtual key of its own,
// which can spend what the lease allows, on the models that it names, until it ends. Each line in a terminal:
//
//	LITELLM_URL=http://127.0.0.1:4000 LITELLM_MASTER_KEY=sk-... ADAPTER_TOKEN=s3cret go run ./examples/litellm
//	echo s3cret > token && go run ./cmd/arcp-edge --dev --credential-endpoint http://127.0.0.1:4100 --credential-token-file token
//	go run ./cmd/arcp invoke --lease '{"cost_budget":["USD:0.50"],"model_use":["gpt-4o"]}' echo '"hello"'
//
// It keeps nothing: a key's alias is made of the job's id, and keys are deleted by alias.
package main

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &adapter{
		proxy: strings.TrimRight(os.Getenv("LITELLM_URL"), "/"), masterKey: os.Getenv("LITELLM_MASTER_KEY"),
		token: os.Getenv("ADAPTER_TOKEN"), client: &http.Client{Timeout: 8 * time.Second},
	}
	if a.proxy == "" || a.masterKey == "" || a.token == "" {
		log.Fatal("LITELLM_URL, LITELLM_MASTER_KEY and ADAPTER_TOKEN are required")
	}
	server := &http.Server{Addr: "127.0.0.1:4100", Handler: a.handler(), ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

// adapter speaks the runtime's side on one end and LiteLLM's on the other.
type adapter struct {
	proxy, masterKey, token string
	client                  *http.Client
}

func (a *adapter) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /credentials", a.issue)
	mux.HandleFunc("DELETE /credentials/{id}", a.revoke)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+a.token)) != 1 {
			refuse(w, http.StatusUnauthorized, envelope.Errorf(envelope.CodeUnauthenticated, "not the runtime's token"))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// aliasPrefix begins the alias of every key that is made here, so that no other key can be deleted from here.
const aliasPrefix = "arcp-"

func (a *adapter) issue(w http.ResponseWriter, r *http.Request) {
	var job struct {
		ID        string         `json:"job_id"`
		Session   string         `json:"session_id"`
		Principal string         `json:"principal"`
		Lease     envelope.Lease `json:"lease"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&job); err != nil || job.ID == "" {
		refuse(w, http.StatusBadRequest, envelope.Errorf(envelope.CodeInvalidArgument, "not a request for credentials"))
		return
	}
	key, err := keyFor(&job.Lease, time.Now())
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, err)
		return
	}
	id := aliasPrefix + job.ID
	key["key_alias"] = id
	key["metadata"] = map[string]string{"arcp_job": job.ID, "arcp_session": job.Session, "arcp_principal": job.Principal}
	// A key of that alias was made for a request whose answer was lost: nobody has it.
	if err := a.deleteKey(r.Context(), id); err != nil {
		refuse(w, http.StatusBadGateway, err)
		return
	}
	var made struct {
		Key string `json:"key"`
	}
	switch status, err := a.call(r.Context(), "/key/generate", key, &made); {
	case err != nil && status >= http.StatusBadRequest && status < http.StatusInternalServerError:
		refuse(w, http.StatusUnprocessableEntity, failure("/key/generate", status))
		return
	case err != nil || made.Key == "":
		// Without a code: the key may have been made, and the runtime is to ask again and to revoke what it gets.
		http.Error(w, "LiteLLM did not say what it did", http.StatusBadGateway)
		return
	}
	answer(w, http.StatusOK, map[string]any{"credentials": []envelope.Credential{{
		ID: id, Scheme: envelope.CredentialBearer, Value: made.Key, Endpoint: a.proxy + "/v1", Profile: "openai",
		Constraints: &job.Lease,
	}}})
}

// keyFor says what a lease means to LiteLLM. It has one budget, in dollars, and an empty list of models is all models.
func keyFor(lease *envelope.Lease, now time.Time) (map[string]any, *envelope.Error) {
	key := map[string]any{}
	for _, amount := range lease.Budget {
		if amount.Currency != "USD" {
			return nil, envelope.Errorf(envelope.CodeInvalidArgument, "budgets in %s cannot be kept here, only in USD", amount.Currency)
		}
		key["max_budget"] = amount.Value.Float64()
	}
	if lease.ModelUse != nil {
		if len(lease.ModelUse) == 0 {
			return nil, envelope.Errorf(envelope.CodeInvalidArgument, "the lease allows no model, so a key is of no use")
		}
		key["models"] = lease.ModelUse
	}
	if lease.ExpiresAt != nil {
		left := int(lease.ExpiresAt.Sub(now) / time.Second)
		if left < 1 {
			return nil, envelope.Errorf(envelope.CodeLeaseExpired, "the lease has ended")
		}
		key["duration"] = fmt.Sprintf("%ds", left)
	}
	return key, nil
}

func (a *adapter) revoke(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !strings.HasPrefix(id, aliasPrefix) {
		refuse(w, http.StatusNotFound, envelope.Errorf(envelope.CodeNotFound, "no such credential"))
		return
	}
	if err := a.deleteKey(r.Context(), id); err != nil {
		refuse(w, http.StatusBadGateway, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// deleteKey deletes the key of an alias; that there is none is no error.
func (a *adapter) deleteKey(ctx context.Context, alias string) *envelope.Error {
	status, err := a.call(ctx, "/key/delete", map[string]any{"key_aliases": []string{alias}}, nil)
	if err != nil && status != http.StatusNotFound {
		return failure("/key/delete", status)
	}
	return nil
}

// call posts to LiteLLM and reads the answer, which holds secrets and so never gets into an error.
func (a *adapter) call(ctx context.Context, path string, body, into any) (status int, err error) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.proxy+path, bytes.NewReader(data))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+a.masterKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, errors.New("refused")
	}
	if into == nil {
		return resp.StatusCode, nil
	}
	return resp.StatusCode, json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(into)
}

// failure is what the runtime is told of a LiteLLM that does not do what it was asked for.
func failure(path string, status int) *envelope.Error {
	if status == 0 {
		return envelope.Errorf(envelope.CodeUnavailable, "LiteLLM did not answer %s", path)
	}
	return envelope.Errorf(envelope.CodeUnavailable, "LiteLLM answered %s with status %d", path, status)
}

func refuse(w http.ResponseWriter, status int, err *envelope.Error) {
	answer(w, status, map[string]any{"code": err.Code, "message": err.Message, "retryable": err.IsRetryable()})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
