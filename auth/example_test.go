package auth_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/arcp-nats/arcp/auth"
)

// A runtime loads its authenticators once and asks them for every
// `session.open`.
func ExampleConfig_Load() {
	set, err := auth.Config{Tokens: []string{"tok-alice=alice"}, Anonymous: true}.Load()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(set.Schemes())
	for _, attempt := range []auth.Attempt{
		{Scheme: auth.SchemeBearer, Token: "tok-alice"},
		{Scheme: auth.SchemeBearer, Token: "tok-mallory"},
		{Scheme: auth.SchemeNone, Anonymous: true, SessionID: "sess_1"},
		{Scheme: auth.SchemeMTLS},
	} {
		out, err := set.Authenticate(context.Background(), attempt)
		if reason, rejected := auth.IsRejection(err); rejected {
			fmt.Println("rejected:", reason)
			continue
		}
		fmt.Println("accepted:", out.Identity.Principal)
	}
	// Output:
	// [bearer none]
	// accepted: alice
	// rejected: token not known
	// accepted: anonymous:sess_1
	// rejected: no authenticator for this scheme
}

// A token `hmac:KEYID` is challenged; the secret itself never travels.
func ExampleSet_Verify() {
	dir, err := os.MkdirTemp("", "auth")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "hmac-keys")
	if err := os.WriteFile(file, []byte("# keyid secret principal\nlaptop s3cret alice\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	set, err := auth.Config{HMACKeyFile: file}.Load()
	if err != nil {
		fmt.Println(err)
		return
	}

	ctx := context.Background()
	out, err := set.Authenticate(ctx, auth.Attempt{Scheme: auth.SchemeBearer, Token: "hmac:laptop"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("challenged:", out.Challenged())

	// The client's half.
	mac := hmac.New(sha256.New, []byte("s3cret"))
	mac.Write([]byte(out.Challenge))
	response := hex.EncodeToString(mac.Sum(nil))

	_, err = set.Verify(ctx, auth.SchemeBearer, out.State, "guess")
	fmt.Println(err)
	id, err := set.Verify(ctx, auth.SchemeBearer, out.State, response)
	fmt.Println(id.Principal, err)
	// Output:
	// challenged: true
	// auth: rejected: response is wrong
	// alice <nil>
}

// A Secret cannot be shown by accident.
func ExampleSecret() {
	s := auth.NewSecret("tok-alice")
	fmt.Printf("%s %v %+v %q\n", s, s, struct{ Token auth.Secret }{s}, s)
	fmt.Println(s.Reveal())
	// Output:
	// [redacted] [redacted] {Token:[redacted]} [redacted]
	// tok-alice
}
