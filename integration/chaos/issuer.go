package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// issuer mints credentials for jobs and revokes them, over HTTP, and remembers all of it. It is a bad one: it refuses now
// and then, is slow, or does what it is asked and does not say so. Asked again for the credential of a job it names the one
// that is good, or mints another.
type issuer struct {
	server *httptest.Server

	mu     sync.Mutex
	random *rand.Rand
	all    []*Issued
	good   map[string]*Issued // by job
	byID   map[string]*Issued
}

// startIssuer starts it. It must be closed.
func startIssuer(seed uint64) *issuer {
	i := &issuer{random: rand.New(rand.NewPCG(seed, 1<<32)), good: make(map[string]*Issued), byID: make(map[string]*Issued)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /credentials", i.mint)
	mux.HandleFunc("DELETE /credentials/{id}", i.revoke)
	i.server = httptest.NewServer(mux)
	return i
}

func (i *issuer) close() { i.server.Close() }

// moods are how the issuer may take a request.
type moods struct{ refuses, loses bool }

// mood draws one, and waits as long as it takes.
func (i *issuer) mood(r *http.Request) moods {
	i.mu.Lock()
	n, takes := i.random.IntN(100), between(i.random, 0, 40*time.Millisecond)
	i.mu.Unlock()
	wait(r.Context(), takes)
	return moods{refuses: n < 5, loses: n >= 5 && n < 8}
}

func (i *issuer) mint(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		Job       string `json:"job_id"`
		Session   string `json:"session_id"`
		Principal string `json:"principal"`
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		refuse(w, http.StatusBadRequest, "INVALID_ARGUMENT", false)
		return
	}
	m := i.mood(r)
	if m.refuses {
		refuse(w, http.StatusServiceUnavailable, "UNAVAILABLE", true)
		return
	}
	i.mu.Lock()
	one := i.good[ask.Job]
	if one == nil {
		n := len(i.all) + 1
		one = &Issued{ID: fmt.Sprintf("cred_%d", n), Value: fmt.Sprintf("%s%d-of-%s", issuedMark, n, ask.Principal), Job: ask.Job, Session: ask.Session, Principal: ask.Principal, At: time.Now()}
		i.all, i.good[ask.Job], i.byID[one.ID] = append(i.all, one), one, one
	}
	i.mu.Unlock()
	if m.loses {
		loseAnswer(w)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"credentials": []map[string]string{{
		"id": one.ID, "scheme": "bearer", "value": one.Value, "endpoint": "https://models.example",
	}}}) // who does not hear it asks again
}

func (i *issuer) revoke(w http.ResponseWriter, r *http.Request) {
	m := i.mood(r)
	if m.refuses {
		refuse(w, http.StatusServiceUnavailable, "UNAVAILABLE", true)
		return
	}
	i.mu.Lock()
	one := i.byID[r.PathValue("id")]
	if one != nil && one.Revoked.IsZero() {
		one.Revoked = time.Now()
		delete(i.good, one.Job)
	}
	i.mu.Unlock()
	switch {
	case m.loses:
		loseAnswer(w)
	case one == nil:
		refuse(w, http.StatusNotFound, "NOT_FOUND", false)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// loseAnswer breaks the connection.
func loseAnswer(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}

func refuse(w http.ResponseWriter, status int, code string, retryable bool) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"code": code, "message": "chaos", "retryable": retryable}) // as above
}

// outstanding names what was not revoked.
func (i *issuer) outstanding() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	var ids []string
	for _, one := range i.good {
		ids = append(ids, one.ID+" of "+one.Job)
	}
	return strings.Join(ids, ", ")
}

// issued returns all that was minted.
func (i *issuer) issued() (all []Issued) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, one := range i.all {
		all = append(all, *one)
	}
	return all
}
