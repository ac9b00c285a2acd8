package auth

import (
	"bytes"
	"fmt"
	"log/slog"
	"time"
)

// Config says who may open sessions. The zero value accepts nobody. Fields
// match the flags of the edge (`--token`, `--token-file`, ...).
//
// Printing or logging a Config never shows a token.
type Config struct {
	// Tokens are `TOKEN=PRINCIPAL` values; the last `=` separates.
	Tokens []string
	// TokenFile holds lines `token principal`.
	TokenFile string
	// HMACKeyFile holds lines `keyid secret principal` for the challenge of
	// bearer tokens `hmac:KEYID`.
	HMACKeyFile string
	// JWTSecretFile holds the HS256 secret: all bytes but one line end at the
	// end of the file.
	JWTSecretFile string
	// JWTKeyFile holds public keys or certificates in PEM, or a JWKS. RSA keys
	// check RS256, EC keys on P-256 check ES256, Ed25519 keys check EdDSA. It
	// may be given together with JWTSecretFile, for instance while an issuer
	// moves from one to the other; each algorithm keeps to its own key.
	JWTKeyFile string
	// JWTAudience must be among a token's `aud`. Required with JWTSecretFile
	// or JWTKeyFile.
	JWTAudience string
	// JWTIssuer, when not empty, must be a token's `iss`.
	JWTIssuer string
	// Anonymous accepts sessions without credentials, if the client negotiates
	// the capability `anonymous`.
	Anonymous bool
	// Clock tells the time; nil means [time.Now].
	Clock func() time.Time
}

// Load reads the files and returns the authenticators. What cannot work is
// refused with a [*ConfigError] that says in words what to change.
//
// In the two line files blank lines and lines that begin with # do not count,
// and no token, secret or key id can hold a space. A token, or key id, must
// not appear twice.
func (c Config) Load() (*Set, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	s := NewSet(nil)
	if c.Anonymous {
		s.schemes[SchemeNone] = anonymous{}
	}
	if len(c.Tokens) > 0 || c.TokenFile != "" || c.HMACKeyFile != "" {
		a, err := c.loadBearer()
		if err != nil {
			return nil, err
		}
		s.schemes[SchemeBearer] = a
	}
	if c.JWTSecretFile != "" || c.JWTKeyFile != "" {
		a, warnings, err := c.loadJWT()
		if err != nil {
			return nil, err
		}
		s.schemes[SchemeSignedJWT] = a
		s.warnings = warnings
	}
	return s, nil
}

// check finds contradictions before any file is read.
func (c Config) check() error {
	keys := c.JWTSecretFile != "" || c.JWTKeyFile != ""
	switch {
	case keys && c.JWTAudience == "":
		return &ConfigError{Source: "--jwt-audience", Reason: "is required with --jwt-secret-file and --jwt-key-file: without it a token made for another service would open sessions here"}
	case !keys && c.JWTAudience != "":
		return &ConfigError{Source: "--jwt-audience", Reason: "has no effect without --jwt-secret-file or --jwt-key-file"}
	case !keys && c.JWTIssuer != "":
		return &ConfigError{Source: "--jwt-issuer", Reason: "has no effect without --jwt-secret-file or --jwt-key-file"}
	}
	return nil
}

func (c Config) loadBearer() (Authenticator, error) {
	table := newBearer()
	table.challenges = c.HMACKeyFile != ""
	if c.TokenFile != "" {
		data, err := readFile(c.TokenFile)
		if err != nil {
			return nil, err
		}
		if err := table.addFile(c.TokenFile, data); err != nil {
			return nil, err
		}
	}
	if err := table.addFlags(c.Tokens); err != nil {
		return nil, err
	}
	if c.HMACKeyFile == "" {
		return table, nil
	}
	data, err := readFile(c.HMACKeyFile)
	if err != nil {
		return nil, err
	}
	return newHMACBearer(table, c.HMACKeyFile, data)
}

func (c Config) loadJWT() (a Authenticator, warnings []string, err error) {
	p := jwtParams{audience: c.JWTAudience, issuer: c.JWTIssuer, clock: c.Clock}
	if p.clock == nil {
		p.clock = time.Now
	}
	if c.JWTSecretFile != "" {
		data, err := readFile(c.JWTSecretFile)
		if err != nil {
			return nil, nil, err
		}
		secret, warning, err := parseSecret(c.JWTSecretFile, data)
		if err != nil {
			return nil, nil, err
		}
		p.secret = secret
		if warning != "" {
			warnings = append(warnings, warning)
		}
	}
	if c.JWTKeyFile != "" {
		data, err := readFile(c.JWTKeyFile)
		if err != nil {
			return nil, nil, err
		}
		keys, left, err := parseKeys(c.JWTKeyFile, data)
		if err != nil {
			return nil, nil, err
		}
		p.keys = keys
		warnings = append(warnings, left...)
	}
	return newSignedJWT(p), warnings, nil
}

// wantSecretBytes is the shortest HS256 secret that RFC 7518 3.2 allows.
const wantSecretBytes = 32

// parseSecret takes the secret of an HS256 file. A short one works but draws a
// warning. A PEM block is refused: a public key taken for a secret would let
// everybody sign.
func parseSecret(path string, data []byte) (secret Secret, warning string, err error) {
	if bytes.Contains(data, []byte("-----BEGIN ")) {
		return Secret{}, "", &ConfigError{Source: path, Reason: "holds PEM; keys belong into --jwt-key-file"}
	}
	data = bytes.TrimSuffix(data, []byte("\n"))
	data = bytes.TrimSuffix(data, []byte("\r"))
	if len(data) == 0 {
		return Secret{}, "", &ConfigError{Source: path, Reason: "is empty"}
	}
	if len(data) < wantSecretBytes {
		warning = fmt.Sprintf("%s: secret has %d bytes; HS256 wants at least %d random ones", path, len(data), wantSecretBytes)
	}
	return NewSecret(string(data)), warning, nil
}

// Format prints the configuration without tokens, whatever the verb.
func (c Config) Format(f fmt.State, _ rune) { fmt.Fprint(f, c.LogValue().String()) }

// LogValue implements [slog.LogValuer]: files by name, tokens by number.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Int("tokens", len(c.Tokens)),
		slog.String("token_file", c.TokenFile),
		slog.String("hmac_key_file", c.HMACKeyFile),
		slog.String("jwt_secret_file", c.JWTSecretFile),
		slog.String("jwt_key_file", c.JWTKeyFile),
		slog.String("jwt_audience", c.JWTAudience),
		slog.String("jwt_issuer", c.JWTIssuer),
		slog.Bool("anonymous", c.Anonymous),
	)
}

// MarshalJSON writes what LogValue shows.
func (c Config) MarshalJSON() ([]byte, error) { return marshalGroup(c.LogValue()) }
