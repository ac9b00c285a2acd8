// Package auth decides who a session belongs to.
//
// A client opens a session with one of five schemes (open dialect 3.1). Each
// scheme that the runtime accepts has an [Authenticator]; a [Set] holds them
// and is what an edge asks. [Config.Load] builds a Set from flags and files:
//
//   - bearer: a table of tokens. A token `hmac:KEYID` is answered by a
//     challenge instead, so that the secret never travels.
//   - signed_jwt: HS256 with a shared secret, or RS256, ES256 and EdDSA with
//     public keys from a PEM or JWKS file. No network is used.
//   - none: anonymous sessions, each a principal of its own.
//
// mtls and oauth2 are names without an implementation here (HS-4); [NewSet]
// takes authenticators written elsewhere.
//
// Every outcome but acceptance is an error. One made by [Reject] is a
// rejection: its text may be shown to the peer, because no text made in this
// package repeats what the peer or a file said. Any other error is internal.
//
// All types are safe for concurrent use once built. The package starts no
// goroutines and reads its files once.
package auth
