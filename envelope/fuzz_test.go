package envelope

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func seedMessages(f *testing.F) [][]byte {
	var seeds [][]byte
	for _, row := range Catalogue() {
		g := readGolden(f, row.Type)
		seeds = append(seeds, g.Minimal, g.Full)
	}
	files, err := filepath.Glob(filepath.Join("testdata", "examples", "*.jsonl"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, bytes.Split(bytes.TrimSpace(data), []byte("\n"))...)
	}
	return seeds
}

// Whatever comes in, Decode either gives an envelope that survives another
// trip, or an error that can be answered.
func FuzzDecode(f *testing.F) {
	for _, seed := range seedMessages(f) {
		f.Add(seed)
	}
	for _, seed := range []string{
		"", "{}", "[]", "null", `{"id":"msg_1","id":"msg_2"}`, `{"\u0069d":"msg_1"}`, `{"type":"x-a"}`,
		`{"type":"arcpx.a.v1","extensions":{"optional":true}}`, "{\"id\":\"\xff\"}", `{"payload":[[[[[[`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		kept := bytes.Clone(data)
		e, err := Decode(data, Limits{MaxBytes: 1 << 16, MaxDepth: 16, MaxKeys: 100})
		if !bytes.Equal(kept, data) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			var fault *DecodeError
			if !errors.As(err, &fault) || fault.Reason == "" {
				t.Fatalf("no proper error: %v", err)
			}
			if fault.Code != CodeInvalidArgument && fault.Code != CodeUnimplemented {
				t.Fatalf("code %q", fault.Code)
			}
			return
		}
		line, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsAny(line, "\n\r") {
			t.Fatal("more than one line")
		}
		again, err := DecodeStored(line)
		if err != nil {
			t.Fatal(err)
		}
		second, err := again.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(line, second) {
			t.Fatalf("%s\nbecame\n%s", line, second)
		}
		row, _ := Lookup(e.Type)
		checkPayload(t, e, row)
	})
}

// Whatever payload comes in, it is refused by name or survives another trip.
func FuzzPayload(f *testing.F) {
	for i, row := range Catalogue() {
		g := readGolden(f, row.Type)
		for _, raw := range [][]byte{g.Minimal, g.Full} {
			e, err := Decode(raw, Limits{})
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(i), []byte(e.Payload))
		}
	}
	rows := Catalogue()
	f.Fuzz(func(t *testing.T, which uint8, payload []byte) {
		row := rows[int(which)%len(rows)]
		checkPayload(t, &Envelope{ID: "msg_1", Type: row.Type, Payload: payload}, row)
	})
}

func checkPayload(t *testing.T, e *Envelope, row Row) {
	payload := row.New()
	if err := e.Decode(payload); err != nil {
		var fault *DecodeError
		if !errors.As(err, &fault) || fault.Reason == "" || fault.Code != CodeInvalidArgument {
			t.Fatalf("no proper error: %v", err)
		}
		return
	}
	written, err := New(row.Type, payload)
	if err != nil {
		t.Fatalf("%s was read and cannot be written: %v", e.Payload, err)
	}
	back := row.New()
	if err := written.Decode(back); err != nil {
		t.Fatalf("%s was written and cannot be read: %v", written.Payload, err)
	}
	again, err := New(row.Type, back)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(written.Payload, again.Payload) {
		t.Fatalf("%s\nbecame\n%s", written.Payload, again.Payload)
	}
}
