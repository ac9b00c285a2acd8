package auth

import (
	"context"
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Leeway is how far the clocks of a JWT's issuer and of this process may
// differ: a token is good until that long after `exp`, and from that long
// before `nbf`.
const Leeway = 30 * time.Second

// The JWT algorithms accepted, each only with the kind of key it is made for.
const (
	algHS256 = "HS256"
	algRS256 = "RS256"
	algES256 = "ES256"
	algEdDSA = "EdDSA"
)

// maxDate is the last second that fits a timestamp on the wire, the end of the
// year 9999. Dates outside of it would overflow.
const maxDate = 253402300799

var (
	errNoKey    = errors.New("no key for this token")
	errCritical = errors.New("token has critical headers")
)

// jwtParams is what the scheme `signed_jwt` needs.
type jwtParams struct {
	secret   Secret // for HS256; empty: HS256 is refused
	keys     []publicKey
	audience string
	issuer   string // "": any
	clock    func() time.Time
}

// signedJWT is the scheme `signed_jwt`.
type signedJWT struct {
	parser *jwt.Parser
	secret Secret
	keys   []publicKey
}

func newSignedJWT(p jwtParams) *signedJWT {
	var algs []string
	if !p.secret.Empty() {
		algs = append(algs, algHS256)
	}
	for _, k := range p.keys {
		algs = append(algs, k.alg)
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(algs),
		jwt.WithStrictDecoding(),
		jwt.WithExpirationRequired(),
		jwt.WithLeeway(Leeway),
		jwt.WithAudience(p.audience),
		jwt.WithTimeFunc(p.clock),
	}
	if p.issuer != "" {
		options = append(options, jwt.WithIssuer(p.issuer))
	}
	return &signedJWT{parser: jwt.NewParser(options...), secret: p.secret, keys: p.keys}
}

// Authenticate checks signature, `exp`, `nbf`, `aud` and, if configured, `iss`;
// the principal is `sub` (HS-4).
func (s *signedJWT) Authenticate(_ context.Context, a Attempt) (Outcome, error) {
	if err := checkToken(a.Token); err != nil {
		return Outcome{}, err
	}
	// A map and not a struct: encoding/json would let a claim `SUB` stand in
	// for `sub`.
	claims := jwt.MapClaims{}
	if _, err := s.parser.ParseWithClaims(a.Token, claims, s.key); err != nil {
		return Outcome{}, Reject("%s", jwtReason(err))
	}
	exp, expOK := date(claims, "exp")
	_, nbfOK := date(claims, "nbf")
	if !expOK || !nbfOK {
		return Outcome{}, Reject("token has a date out of range")
	}
	sub, _ := claims["sub"].(string)
	if fault := principalFault(sub); fault != "" {
		return Outcome{}, Reject("token subject is refused: %s", fault)
	}
	return Outcome{Identity: Identity{Principal: sub, ExpiresAt: exp}}, nil
}

// key picks what a token's signature is checked with. The algorithm that the
// token claims only ever leads to keys of that algorithm: a public key is
// never taken for an HMAC secret. The parser has refused all algorithms that
// nothing was configured for, `none` among them.
func (s *signedJWT) key(token *jwt.Token) (any, error) {
	// RFC 7515 4.1.11: a critical header that is not understood refuses the
	// token. We understand none, and the library does not look.
	if _, ok := token.Header["crit"]; ok {
		return nil, errCritical
	}
	alg := token.Method.Alg()
	if alg == algHS256 {
		return []byte(s.secret.Reveal()), nil
	}
	kid, _ := token.Header["kid"].(string)
	var set jwt.VerificationKeySet
	for _, k := range s.keys {
		if k.alg == alg && (k.kid == kid || k.kid == "" || kid == "") {
			set.Keys = append(set.Keys, k.key)
		}
	}
	if len(set.Keys) == 0 {
		return nil, errNoKey
	}
	return set, nil
}

// date reads a claim in seconds since 1970; the zero time if it is absent.
func date(claims jwt.MapClaims, name string) (t time.Time, ok bool) {
	seconds, present := claims[name].(float64)
	if !present {
		return time.Time{}, true
	}
	if seconds < 0 || seconds > maxDate {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(seconds * 1000)).UTC(), true
}

// jwtReason turns the library's error into a text of ours: its own can repeat
// parts of the token. The signature is checked before any claim, so nobody
// learns about claims without a key.
func jwtReason(err error) string {
	for _, r := range []struct {
		err    error
		reason string
	}{
		{errNoKey, "token was signed by a key that is not known here"},
		{errCritical, "token has critical headers that are not understood"},
		{jwt.ErrTokenMalformed, "token is malformed"},
		{jwt.ErrTokenUnverifiable, "token algorithm is not accepted"},
		{jwt.ErrTokenSignatureInvalid, "token signature or algorithm is not accepted"},
		{jwt.ErrTokenRequiredClaimMissing, "token lacks a required claim"},
		{jwt.ErrTokenExpired, "token has expired"},
		{jwt.ErrTokenNotValidYet, "token is not valid yet"},
		{jwt.ErrTokenInvalidAudience, "token is for another audience"},
		{jwt.ErrTokenInvalidIssuer, "token is from another issuer"},
	} {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return "token is not valid"
}
