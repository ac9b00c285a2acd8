package credential

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	keyBytes   = 32 // AES-256
	keyIDBytes = 8
	maxKeys    = 64
	// maxFile bounds a file of keys or a token, in bytes.
	maxFile = 64 << 10
)

// Keyring seals secrets with AES-256-GCM. The first key seals; all keys open, so that a key can be replaced: put the new
// one first, and take the old one out when nothing that it sealed is left. It is safe for concurrent use.
type Keyring struct {
	first [keyIDBytes]byte
	keys  map[[keyIDBytes]byte]cipher.AEAD
}

// LoadKeyring reads a file of keys: one a line, 32 bytes in base64. Blank lines and lines that begin with # do not count.
func LoadKeyring(path string) (*Keyring, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	ring := &Keyring{keys: make(map[[keyIDBytes]byte]cipher.AEAD)}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for number := 1; lines.Scan(); number++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if err := ring.add(text); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, number, err)
		}
	}
	switch {
	case lines.Err() != nil:
		return nil, fmt.Errorf("%s: holds a line that is too long", path)
	case len(ring.keys) == 0:
		return nil, fmt.Errorf("%s: holds no key", path)
	}
	return ring, nil
}

// CreateKeyFile writes a file with one new key that only its owner can read, and makes the folders that it needs. A file
// that is there is left alone.
func CreateKeyFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	key := make([]byte, keyBytes)
	_, _ = rand.Read(key) // never fails
	_, err = fmt.Fprintf(f, "# Seals the credentials that are outstanding. The first key seals, all open.\n%s\n",
		base64.StdEncoding.EncodeToString(key))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (r *Keyring) add(text string) error {
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != keyBytes {
		return fmt.Errorf("a key is %d bytes in base64", keyBytes)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return errors.New("the key cannot be used")
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return errors.New("the key cannot be used")
	}
	sum := sha256.Sum256(append([]byte("arcp seal key id\x00"), key...))
	id := [keyIDBytes]byte(sum[:keyIDBytes])
	if r.keys[id] != nil {
		return errors.New("the key is there twice")
	}
	if len(r.keys) == maxKeys {
		return fmt.Errorf("more than %d keys", maxKeys)
	}
	if len(r.keys) == 0 {
		r.first = id
	}
	r.keys[id] = aead
	return nil
}

// Seal encrypts a secret. It can only be opened with the same context, which is not a part of what is sealed.
func (r *Keyring) Seal(secret []byte, context string) []byte {
	aead := r.keys[r.first]
	sealed := make([]byte, keyIDBytes+aead.NonceSize(), keyIDBytes+aead.NonceSize()+len(secret)+aead.Overhead())
	copy(sealed, r.first[:])
	nonce := sealed[keyIDBytes:]
	_, _ = rand.Read(nonce) // never fails
	return aead.Seal(sealed, nonce, secret, []byte(context))
}

// Open decrypts what Seal has made.
func (r *Keyring) Open(sealed []byte, context string) ([]byte, error) {
	if len(sealed) < keyIDBytes {
		return nil, errors.New("credential: not sealed by us")
	}
	aead := r.keys[[keyIDBytes]byte(sealed[:keyIDBytes])]
	if aead == nil {
		return nil, errors.New("credential: sealed with a key that is not in the file")
	}
	rest := sealed[keyIDBytes:]
	if len(rest) < aead.NonceSize() {
		return nil, errors.New("credential: what was sealed is cut short")
	}
	secret, err := aead.Open(nil, rest[:aead.NonceSize()], rest[aead.NonceSize():], []byte(context))
	if err != nil {
		return nil, errors.New("credential: what was sealed was changed, or belongs elsewhere")
	}
	return secret, nil
}

// LoadToken reads a file that holds one token: all of it but the space around it.
func LoadToken(path string) (string, error) {
	data, err := readFile(path)
	if err != nil {
		return "", err
	}
	token := string(bytes.TrimSpace(data))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("%s: must hold one token without spaces", path)
	}
	return token, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxFile:
		return nil, fmt.Errorf("%s: is larger than %d bytes", path, maxFile)
	}
	return data, nil
}
