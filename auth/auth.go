package auth

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// Scheme names a way to prove an identity, as `session.open` spells it.
type Scheme string

// The schemes of the open dialect (3.1). SchemeMTLS and SchemeOAuth2 have no
// authenticator in this package.
const (
	SchemeBearer    Scheme = "bearer"
	SchemeSignedJWT Scheme = "signed_jwt"
	SchemeNone      Scheme = "none"
	SchemeMTLS      Scheme = "mtls"
	SchemeOAuth2    Scheme = "oauth2"
)

// MaxTokenBytes is the longest token looked at, in bytes. Longer ones are
// rejected unread: hashing and parsing happen before anybody is known.
const MaxTokenBytes = 16 << 10

// Attempt is what a client offers in `session.open`, with what the runtime
// has settled before it asks (HS-1).
//
// Printing or logging an Attempt never shows the token.
type Attempt struct {
	// Scheme selects the authenticator.
	Scheme Scheme
	// Token is the credential; empty when the client sent none.
	Token string
	// ClientKind, ClientVersion and Fingerprint are the client's own claims
	// about itself. They prove nothing.
	ClientKind, ClientVersion, Fingerprint string
	// Anonymous is the capability `anonymous` as negotiated (CP-2).
	Anonymous bool
	// SessionID is the id minted for the session before authentication.
	SessionID string
}

// Format prints the attempt without its token, whatever the verb.
func (a Attempt) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{scheme:%q token:%s client:%q/%q anonymous:%t session:%q}",
		string(a.Scheme), redacted, a.ClientKind, a.ClientVersion, a.Anonymous, a.SessionID)
}

// LogValue implements [slog.LogValuer] without the token.
func (a Attempt) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("scheme", string(a.Scheme)),
		slog.String("client_kind", a.ClientKind),
		slog.String("client_version", a.ClientVersion),
		slog.Bool("anonymous", a.Anonymous),
		slog.String("session_id", a.SessionID),
	)
}

// MarshalJSON writes what LogValue shows.
func (a Attempt) MarshalJSON() ([]byte, error) { return marshalGroup(a.LogValue()) }

// Identity is what authentication yields.
type Identity struct {
	// Principal owns the session and its jobs. It is never empty, at most
	// [MaxPrincipalBytes] long and free of control characters.
	Principal string
	// ExpiresAt is when the credential runs out; zero when it does not. A
	// session lease must not outlive it. It can lie up to [Leeway] in the
	// past, as that much clock skew is forgiven.
	ExpiresAt time.Time
}

// Outcome is the answer to an attempt that was not rejected: either an
// identity or a challenge (HS-3).
type Outcome struct {
	// Identity is set when Challenge is empty.
	Identity Identity
	// Challenge, when not empty, goes to the client in `session.challenge`.
	Challenge string
	// State belongs to the authenticator that challenged. The caller keeps it
	// with the connection and hands it to [Challenger.Verify].
	State any
}

// Challenged reports whether the client has a challenge to answer.
func (o Outcome) Challenged() bool { return o.Challenge != "" }

// Authenticator decides about one scheme.
//
// Authenticate may be called concurrently. A rejection is an error made by
// [Reject]; every other error is internal and ends the connection without a
// reply (HS-3).
type Authenticator interface {
	Authenticate(ctx context.Context, a Attempt) (Outcome, error)
}

// Challenger is an Authenticator whose outcome can be a challenge.
//
// Verify checks the client's response against the state of that challenge. A
// rejected response leaves the challenge open (HS-5); the caller bounds the
// tries. A state is good for one acceptance.
type Challenger interface {
	Authenticator
	Verify(ctx context.Context, state any, response string) (Identity, error)
}

// Renewer is a Challenger that can put a principal to the test again, long
// after the challenge that let it in (HS-9).
//
// Renew makes a challenge that whoever holds a key of the principal can
// answer, with the same Verify. It rejects a principal without one.
type Renewer interface {
	Challenger
	Renew(ctx context.Context, principal string) (Outcome, error)
}
