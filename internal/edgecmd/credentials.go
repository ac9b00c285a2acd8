package edgecmd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/arcp-nats/arcp/credential"
	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/subjects"
)

// issuing is how jobs get credentials: what the flags say, with all files read.
type issuing struct {
	endpoint *credential.HTTP // one of these two
	tokens   *credential.JWT
	denied   *denylist
	keys     *credential.Keyring
}

// issuing reads what the flags say of credentials, nil if jobs get none. With --dev it makes a key to seal with.
func (f *Flags) issuing() (made *issuing, err error) {
	switch {
	case f.CredentialEndpoint != "" && f.CredentialKeyFile != "":
		return nil, errors.New("--credential-endpoint and --credential-key-file: credentials come from one of them")
	case f.CredentialTokenFile != "" && f.CredentialEndpoint == "":
		return nil, errors.New("--credential-token-file has no effect without --credential-endpoint")
	case f.CredentialAudience != "" && f.CredentialKeyFile == "":
		return nil, errors.New("--credential-audience has no effect without --credential-key-file")
	case f.CredentialKeyFile != "" && f.CredentialAudience == "":
		return nil, errors.New("--credential-audience is required with --credential-key-file: it says where the tokens are good")
	case f.CredentialTTL <= 0:
		return nil, fmt.Errorf("--credential-ttl %s: must be above 0", f.CredentialTTL)
	case f.CredentialEndpoint == "" && f.CredentialKeyFile == "":
		if f.SealKeyFile != "" {
			return nil, errors.New("--seal-key-file has no effect without --credential-endpoint or --credential-key-file")
		}
		return nil, nil
	case f.SealKeyFile == "" && !f.Dev:
		return nil, errors.New("--seal-key-file is required with credentials: it seals those that are outstanding")
	}
	made = new(issuing)
	if f.CredentialEndpoint != "" {
		cfg := credential.HTTPConfig{Endpoint: f.CredentialEndpoint}
		if f.CredentialTokenFile != "" {
			if cfg.Token, err = credential.LoadToken(f.CredentialTokenFile); err != nil {
				return nil, fmt.Errorf("--credential-token-file: %w", err)
			}
		}
		if made.endpoint, err = credential.NewHTTP(cfg); err != nil {
			return nil, fmt.Errorf("--credential-endpoint: %w", err)
		}
	} else {
		made.denied = new(denylist)
		made.tokens, err = credential.NewJWT(credential.JWTConfig{
			KeyFile: f.CredentialKeyFile, Audience: f.CredentialAudience, TTL: f.CredentialTTL, Denylist: made.denied,
		})
		if err != nil {
			return nil, fmt.Errorf("--credential-key-file: %w", err)
		}
	}
	path := f.SealKeyFile
	if path == "" {
		path = filepath.Join(f.Data, "seal.key")
		if err := credential.CreateKeyFile(path); err != nil {
			return nil, fmt.Errorf("a key to seal credentials with: %w", err)
		}
	}
	if made.keys, err = credential.LoadKeyring(path); err != nil {
		return nil, fmt.Errorf("--seal-key-file: %w", err)
	}
	return made, nil
}

// parts are what the edge needs, nil for none.
func (i *issuing) parts(client *jetstream.Client) *edge.Credentials {
	if i == nil {
		return nil
	}
	bucket := client.KV(jetstream.BucketCredentials)
	parts := &edge.Credentials{Keys: i.keys, Ledger: bucket}
	if i.endpoint != nil {
		parts.Provisioner = i.endpoint
	} else {
		i.denied.bucket = bucket
		parts.Provisioner = i.tokens
	}
	return parts
}

// close lets go of what is held; the edge must have ended.
func (i *issuing) close() {
	if i != nil && i.endpoint != nil {
		i.endpoint.Close()
	}
}

// denylist keeps the ids of revoked tokens in the bucket of the credentials, under `denied.<id>`, for as long as the
// tokens could live. Services that take the tokens can look there.
type denylist struct{ bucket *jetstream.KV }

// Deny implements [credential.Denylist].
func (d *denylist) Deny(ctx context.Context, id string, ttl time.Duration) error {
	_, err := d.bucket.PutTTL(ctx, subjects.Key("denied", id), []byte("{}"), ttl.Truncate(time.Second)+time.Second)
	return err
}
