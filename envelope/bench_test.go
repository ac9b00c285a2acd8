package envelope

import (
	"encoding/json"
	"testing"
)

const smallInvoke = `{"arcp":"1.1","id":"msg_01K8Q2W0A00000000000M000B1","timestamp":"2026-07-01T09:01:00Z","type":"tool.invoke","session_id":"sess_01K8Q2W0A00000000000S00001","idempotency_key":"nightly-2026-07-01","payload":{"tool":"report@2.0.0","arguments":{"day":"2026-07-01"}}}`

func BenchmarkDecode(b *testing.B) {
	data := []byte(smallInvoke)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(data, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeStored(b *testing.B) {
	data := []byte(smallInvoke)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeStored(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodePayload(b *testing.B) {
	e, err := Decode([]byte(smallInvoke), Limits{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodePayload[ToolInvoke](e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	e, err := Decode([]byte(smallInvoke), Limits{})
	if err != nil {
		b.Fatal(err)
	}
	var line []byte
	b.ReportAllocs()
	for b.Loop() {
		if line, err = e.Append(line[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendSeq(b *testing.B) {
	var line []byte
	b.ReportAllocs()
	for b.Loop() {
		line = AppendSeq(line[:0], []byte(smallInvoke), 123456)
	}
}

func BenchmarkNewProgress(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(TypeJobProgress, JobProgress{Current: 3, Total: new(10.0), Units: "steps"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewMetric(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(TypeMetric, &Metric{Name: "cost.llm", Value: 0.3, Unit: "USD"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewMessageID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		NewMessageID()
	}
}

func BenchmarkFingerprint(b *testing.B) {
	arguments := json.RawMessage(`{"b":[1,2.50],"a":{"day":"2026-07-01"}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Fingerprint("report@2.0.0", arguments, nil); err != nil {
			b.Fatal(err)
		}
	}
}
