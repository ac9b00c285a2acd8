package client

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

// PutArtifact stores content as an artifact of the session's principal (open dialect AR-1), for as long as retain says, 0
// for the runtime's default. It fits if the edge says so, 4 MiB by default. The hash is sent with it, so what is stored is
// what was put. An [*envelope.Error] says why it was refused; after ErrOutcomeUnknown it may be stored all the same, and
// expires.
func (s *Session) PutArtifact(ctx context.Context, mediaType string, content []byte, retain time.Duration) (envelope.ArtifactRef, error) {
	sum := sha256.Sum256(content)
	payload := envelope.ArtifactPut{
		MediaType: mediaType, Data: base64.StdEncoding.EncodeToString(content), SHA256: hex.EncodeToString(sum[:]),
	}
	if seconds := uint64(max(0, retain) / time.Second); retain > 0 {
		payload.RetainSeconds = &seconds
	}
	reply, err := s.question(ctx, envelope.TypeArtifactPut, payload, false)
	if err != nil {
		return envelope.ArtifactRef{}, err
	}
	if reply.Type != envelope.TypeArtifactRef {
		return envelope.ArtifactRef{}, fmt.Errorf("client: artifact.put was answered with %s", reply.Type)
	}
	ref, err := envelope.DecodePayload[envelope.ArtifactRefMessage](reply)
	if err != nil {
		return envelope.ArtifactRef{}, err
	}
	return ref.Artifact, nil
}

// FetchArtifact returns the content of an artifact in an envelope (open dialect AR-4). FAILED_PRECONDITION: it is too large
// for one, see OpenArtifact. NOT_FOUND: there is none, or it is somebody else's.
func (s *Session) FetchArtifact(ctx context.Context, id envelope.ArtifactID) (mediaType string, content []byte, err error) {
	reply, err := s.question(ctx, envelope.TypeArtifactFetch, envelope.ArtifactFetch{ArtifactID: id}, true)
	if err != nil {
		return "", nil, err
	}
	if reply.Type != envelope.TypeArtifactPut {
		return "", nil, fmt.Errorf("client: artifact.fetch was answered with %s", reply.Type)
	}
	put, err := envelope.DecodePayload[envelope.ArtifactPut](reply)
	if err != nil {
		return "", nil, err
	}
	content, err = base64.StdEncoding.DecodeString(put.Data)
	if err != nil {
		return "", nil, fmt.Errorf("client: artifact %s: %w", id, err)
	}
	return put.MediaType, content, nil
}

// ReleaseArtifact removes an artifact at once. There is no answer (open dialect AR-5).
func (s *Session) ReleaseArtifact(ctx context.Context, id envelope.ArtifactID) error {
	e, err := envelope.New(envelope.TypeArtifactRelease, envelope.ArtifactRelease{ArtifactID: id})
	if err != nil {
		return err
	}
	return s.Tell(ctx, e)
}

// question sends a request and returns its answer; a nack is an error.
func (s *Session) question(ctx context.Context, typ envelope.Type, payload any, again bool) (*envelope.Envelope, error) {
	r, err := s.newRequest(typ, payload)
	if err != nil {
		return nil, err
	}
	r.again = again
	reply, err := s.roundTrip(ctx, r)
	if err == nil && reply.Type == envelope.TypeNack {
		return nil, nackError(reply)
	}
	return reply, err
}

// Artifact is the content of an artifact that is being read. It must be closed.
type Artifact struct {
	// MediaType is what whoever stored it said; Size is in bytes.
	MediaType string
	Size      int64

	body io.ReadCloser
	sum  hash.Hash
	want string // its SHA-256, in hex
}

// OpenArtifact reads an artifact of any size, over HTTP, from the edge that holds the session. The hash is compared at the
// end: Read fails then, in place of io.EOF, if it is another one. The errors are those of FetchArtifact.
func (s *Session) OpenArtifact(ctx context.Context, id envelope.ArtifactID) (*Artifact, error) {
	address, token := s.artifactAddress(id)
	if address == "" {
		return nil, ErrConnectionLost
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("client: artifact %s: %w", id, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer func() { _ = resp.Body.Close() }()
		return nil, httpError(resp)
	}
	return &Artifact{
		MediaType: resp.Header.Get("Content-Type"), Size: resp.ContentLength,
		body: resp.Body, sum: sha256.New(), want: strings.Trim(resp.Header.Get("ETag"), `"`),
	}, nil
}

// artifactAddress is where the edge that has the session serves an artifact, "" without one, and what shows it who asks.
func (s *Session) artifactAddress(id envelope.ArtifactID) (address, token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.address == "" || len(s.tokens) == 0 {
		return "", ""
	}
	u, err := url.Parse(s.address)
	if err != nil {
		return "", ""
	}
	u.Scheme = strings.Replace(u.Scheme, "ws", "http", 1)
	u.Path, u.RawQuery = "/artifacts/"+string(id), ""
	return u.String(), s.tokens[0]
}

// maxErrorBody bounds what is read of a refusal.
const maxErrorBody = 64 << 10

// httpError is what the edge says in place of an artifact.
func httpError(resp *http.Response) error {
	var said struct {
		Code    envelope.Code `json:"code"`
		Message string        `json:"message"`
	}
	err := stdjson.NewDecoder(io.LimitReader(resp.Body, maxErrorBody)).Decode(&said)
	if err != nil || said.Code == "" {
		return fmt.Errorf("client: the edge answered %s", resp.Status)
	}
	return &envelope.Error{Code: said.Code, Message: said.Message}
}

// Read reads what comes next.
func (a *Artifact) Read(p []byte) (int, error) {
	n, err := a.body.Read(p)
	a.sum.Write(p[:n])
	if errors.Is(err, io.EOF) && hex.EncodeToString(a.sum.Sum(nil)) != a.want {
		return n, envelope.Errorf(envelope.CodeDataLoss, "the artifact did not arrive as it was stored")
	}
	return n, err
}

// Close ends the reading.
func (a *Artifact) Close() error { return a.body.Close() }
