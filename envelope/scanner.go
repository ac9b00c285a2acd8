package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// What a value of another type is told.
const (
	wantString  = "must be a string"
	wantObject  = "must be an object"
	wantArray   = "must be an array"
	wantBool    = "must be true or false"
	wantInteger = "must be a non-negative integer"
	wantNumber  = "must be a number"
	wantPresent = "is missing"
	wantValue   = "must not be null"
)

// scanner is a pooled decoder over a byte slice. What it returns as bytes is
// valid until the next call.
type scanner struct {
	dec     *jsontext.Decoder
	buf     bytes.Buffer
	scratch []byte
}

var scanners = sync.Pool{New: func() any {
	s := new(scanner)
	s.dec = jsontext.NewDecoder(&s.buf)
	return s
}}

func newScanner(data []byte) *scanner {
	s := scanners.Get().(*scanner)
	s.buf = *bytes.NewBuffer(data)
	s.dec.Reset(&s.buf)
	return s
}

func (s *scanner) release() {
	// Let go of the input: the pool must not keep it alive.
	s.buf = bytes.Buffer{}
	s.dec.Reset(&s.buf)
	const keepScratch = 4 << 10
	if cap(s.scratch) > keepScratch {
		s.scratch = nil
	}
	scanners.Put(s)
}

// name reads a member name.
func (s *scanner) name() ([]byte, error) { return s.textBytes() }

// textBytes reads a string that is known to be next.
func (s *scanner) textBytes() ([]byte, error) {
	raw, err := s.dec.ReadValue()
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	s.scratch, err = jsontext.AppendUnquote(s.scratch[:0], raw)
	return s.scratch, err
}

func (s *scanner) text() (string, error) {
	b, err := s.textBytes()
	return string(b), err
}

func (s *scanner) skip() error {
	_, err := s.dec.ReadValue()
	return err
}

// parseUint reads an integer token: neither 1.0 nor 1e3 nor -0 is one.
func parseUint(raw []byte, bits int) (uint64, bool) {
	n, err := strconv.ParseUint(string(raw), 10, bits)
	return n, err == nil
}

// syntaxFault names the place of a fault of JSON itself.
func syntaxFault(err error) *DecodeError {
	fault := &DecodeError{Reason: syntaxReason(err).Error()}
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		fault.Member = memberPath(syntactic.JSONPointer)
	}
	return fault
}

// syntaxReason says what is wrong without quoting the input, which may hold
// secrets.
func syntaxReason(err error) error {
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return errors.New("duplicate member name")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errors.New("JSON ends too early")
	case errors.As(err, &syntactic):
		if strings.Contains(syntactic.Error(), "UTF-8") {
			return fmt.Errorf("invalid UTF-8 at byte %d", syntactic.ByteOffset)
		}
		return fmt.Errorf("invalid JSON at byte %d", syntactic.ByteOffset)
	default:
		return errors.New("invalid JSON")
	}
}

// memberPath turns a JSON pointer into the form of [DecodeError.Member].
func memberPath(pointer jsontext.Pointer) string {
	const most = 256
	var b strings.Builder
	for token := range pointer.Tokens() {
		if b.Len()+len(token) > most {
			break
		}
		switch {
		case token != "" && allDigits(token):
			b.WriteString("[" + token + "]")
		case b.Len() > 0:
			b.WriteString("." + token)
		default:
			b.WriteString(token)
		}
	}
	return b.String()
}

// under puts the member of a fault under its parent.
func under(parent string, fault *DecodeError) *DecodeError {
	switch {
	case fault.Member == "":
		fault.Member = parent
	case fault.Member[0] == '[':
		fault.Member = parent + fault.Member
	default:
		fault.Member = parent + "." + fault.Member
	}
	return fault
}
