package credential

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

const (
	// maxAnswer bounds an endpoint's answer, in bytes.
	maxAnswer = 256 << 10
	// maxMessage bounds the text of an endpoint's error that is passed on, in bytes.
	maxMessage = 500
	// DefaultTimeout is how long an endpoint may take to answer.
	DefaultTimeout = 10 * time.Second
)

// HTTPConfig says where the endpoint is.
type HTTPConfig struct {
	// Endpoint is its URL, without the `/credentials` that is added. Required.
	Endpoint string
	// Token, unless empty, is sent as a bearer token.
	Token string
	// Timeout bounds each call. Default: DefaultTimeout.
	Timeout time.Duration
}

// HTTP asks an endpoint for credentials:
//
//	POST   {endpoint}/credentials       {"job_id", "session_id", "principal", "lease"} -> 200 {"credentials": [...]}
//	DELETE {endpoint}/credentials/{id}  -> 2xx; 404 counts as done
//
// Errors are {"code", "message", "retryable"} with a status of 400 or more. The header Idempotency-Key of a POST is the
// job's id: an endpoint that has seen it answers with what it issued then. HTTP follows no redirects. Use NewHTTP.
type HTTP struct {
	base   string
	token  string
	client *http.Client
}

// NewHTTP makes a provisioner. It says what is wrong with the endpoint's URL, and does not call it.
func NewHTTP(cfg HTTPConfig) (*HTTP, error) {
	u, err := url.Parse(cfg.Endpoint)
	switch {
	case err != nil:
		return nil, errors.New("credential: the endpoint is not a URL") // the parser's error repeats it
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, errors.New("credential: the endpoint must be an http or https URL with a host")
	case u.User != nil:
		return nil, errors.New("credential: the endpoint must not hold a user or password; use a token")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("credential: the endpoint must have no query and no fragment")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	return &HTTP{
		base: strings.TrimRight(u.String(), "/"), token: cfg.Token,
		client: &http.Client{
			Timeout:       cfg.Timeout,
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 16, IdleConnTimeout: 90 * time.Second, ForceAttemptHTTP2: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for this endpoint
		},
	}, nil
}

// Close lets go of idle connections. Calls that run are not ended.
func (h *HTTP) Close() { h.client.CloseIdleConnections() }

// Issue implements [Provisioner].
func (h *HTTP) Issue(ctx context.Context, req Request) ([]envelope.Credential, error) {
	body, err := json.Marshal(struct {
		JobID     envelope.JobID     `json:"job_id"`
		SessionID envelope.SessionID `json:"session_id"`
		Principal string             `json:"principal"`
		Lease     *envelope.Lease    `json:"lease"`
		Parent    envelope.JobID     `json:"parent_job_id,omitempty"`
	}{req.JobID, req.SessionID, req.Principal, req.Lease, req.Parent})
	if err != nil {
		return nil, &Refusal{Reason: envelope.Errorf(envelope.CodeInternal, "the request for credentials does not encode")}
	}
	// The library sends the request again if a connection breaks, as it has a key. What the endpoint did with the first of
	// two it did not say: that the second was refused, or did not arrive, is no word on that.
	var sent atomic.Int32
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Add(1) }})
	status, answer, err := h.call(traced, http.MethodPost, "/credentials", body, string(req.JobID))
	if err != nil {
		return nil, unlessSent(err, sent.Load() > 0)
	}
	if status >= http.StatusBadRequest {
		return nil, unlessSent(h.failure(status, answer), sent.Load() > 1)
	}
	if status != http.StatusOK && status != http.StatusCreated {
		return nil, envelope.Errorf(envelope.CodeUnavailable, "the credential endpoint answered with status %d", status)
	}
	return readCredentials(answer)
}

// unlessSent makes a refusal one of which it is not known whether something was issued all the same, if a request before was
// sent.
func unlessSent(err error, sent bool) error {
	var refusal *Refusal
	if sent && errors.As(err, &refusal) {
		return refusal.Reason
	}
	return err
}

// readCredentials reads the answer to a POST. What is not fit for a client may have been issued all the same: it is
// returned with the error as far as it can be named.
func readCredentials(answer []byte) ([]envelope.Credential, error) {
	var strict struct {
		Credentials []envelope.Credential `json:"credentials"`
	}
	err := json.Unmarshal(answer, &strict)
	if err == nil {
		if err = Check(strict.Credentials); err == nil {
			return strict.Credentials, nil
		}
	}
	unfit := envelope.Errorf(envelope.CodeInternal, "the credential endpoint's answer cannot be used")
	var named struct {
		Credentials []struct {
			ID string `json:"id"`
		} `json:"credentials"`
	}
	if json.Unmarshal(answer, &named) != nil {
		return nil, unfit
	}
	var issued []envelope.Credential
	for _, c := range named.Credentials[:min(len(named.Credentials), maxCredentials)] {
		if c.ID != "" && len(c.ID) <= maxID {
			issued = append(issued, envelope.Credential{ID: c.ID})
		}
	}
	return issued, unfit
}

// Revoke implements [Provisioner].
func (h *HTTP) Revoke(ctx context.Context, id string) error {
	status, answer, err := h.call(ctx, http.MethodDelete, "/credentials/"+url.PathEscape(id), nil, "")
	switch {
	case err != nil:
		return err
	case status == http.StatusNotFound || status >= 200 && status < 300:
		return nil
	}
	return h.failure(status, answer)
}

// call does one request and returns the status and the answer's body.
func (h *HTTP) call(ctx context.Context, method, path string, body []byte, key string) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, h.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, &Refusal{Reason: envelope.Errorf(envelope.CodeInternal, "the request to the credential endpoint cannot be made")}
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	if h.token != "" {
		req.Header.Set("Authorization", "Bearer "+h.token)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return 0, nil, h.unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return 0, nil, h.unreachable(err)
	case len(answer) > maxAnswer:
		return 0, nil, envelope.Errorf(envelope.CodeInternal, "the credential endpoint's answer is longer than %d bytes", maxAnswer)
	}
	return resp.StatusCode, answer, nil
}

// unreachable says that there was no answer. The client library's error repeats the URL, so its kind is told only. A
// connection that was never made has issued nothing.
func (h *HTTP) unreachable(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return envelope.Errorf(envelope.CodeUnavailable, "the credential endpoint did not answer in time")
	}
	unreached := envelope.Errorf(envelope.CodeUnavailable, "the credential endpoint cannot be reached")
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return &Refusal{Reason: unreached}
	}
	return unreached
}

// failure is what an endpoint says that does not do what it was asked for. An error in its own words is a refusal; a
// status of 500 or more without them may come from something in between, and says nothing of what was done.
func (h *HTTP) failure(status int, answer []byte) error {
	var said struct {
		Code      string `json:"code"`
		Message   string `json:"message"`
		Retryable *bool  `json:"retryable"`
	}
	if json.Unmarshal(answer, &said) == nil && said.Code != "" {
		code, err := envelope.ParseCode(said.Code)
		if err != nil || code == envelope.CodeOK {
			code = envelope.CodeUnknown
		}
		text := strings.ToValidUTF8(said.Message, "?")
		if text == "" {
			text = fmt.Sprintf("the credential endpoint answered with status %d", status)
		}
		if h.token != "" {
			text = strings.ReplaceAll(text, h.token, "[token]")
		}
		if len(text) > maxMessage {
			text = strings.ToValidUTF8(text[:maxMessage], "") + "..."
		}
		return &Refusal{Reason: &envelope.Error{Code: code, Message: text, Retryable: said.Retryable}}
	}
	code := envelope.CodeUnknown
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		code = envelope.CodeFailedPrecondition // the runtime's own token; nothing that the client could mend
	case status == http.StatusTooManyRequests:
		code = envelope.CodeResourceExhausted
	case status >= http.StatusInternalServerError:
		return envelope.Errorf(envelope.CodeUnavailable, "the credential endpoint answered with status %d", status)
	}
	return &Refusal{Reason: envelope.Errorf(code, "the credential endpoint answered with status %d", status)}
}
