package envelope_test

import (
	"errors"
	"fmt"

	"github.com/arcp-nats/arcp/envelope"
)

func ExampleDecode() {
	frame := `{"arcp":"1.1","id":"msg_1","timestamp":"2026-07-01T09:01:00Z","type":"tool.invoke",
		"payload":{"tool":"report@2.0.0","arguments":{"day":"2026-07-01"}}}`
	e, err := envelope.Decode([]byte(frame), envelope.DefaultLimits())
	if err != nil {
		fmt.Println(err)
		return
	}
	invoke, err := envelope.DecodePayload[envelope.ToolInvoke](e)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(e.Type, invoke.Tool, string(invoke.Arguments))
	// Output: tool.invoke report@2.0.0 {"day":"2026-07-01"}
}

// A bad message does not end a session: the error says how to answer it.
func ExampleDecodeError() {
	frame := `{"arcp":"1.1","id":"msg_1","timestamp":"yesterday","type":"ping","payload":{}}`
	_, err := envelope.Decode([]byte(frame), envelope.DefaultLimits())
	var bad *envelope.DecodeError
	if errors.As(err, &bad) && !bad.Silent {
		answer := bad.Answer()
		fmt.Println(bad.ID, answer.Code, answer.Message)
	}
	// Output: msg_1 INVALID_ARGUMENT timestamp: no RFC 3339 timestamp
}

func ExampleEnvelope_Append() {
	at, _ := envelope.ParseTime("2026-07-01T12:00:00+02:00")
	e, err := envelope.New(envelope.TypeJobProgress, envelope.JobProgress{Current: 2, Total: new(8.0), Units: "steps"})
	if err != nil {
		fmt.Println(err)
		return
	}
	e.ID, e.Timestamp, e.JobID = "msg_2", at, "job_1"
	line, err := e.Append(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(envelope.AppendSeq(nil, line, 7)))
	// Output: {"event_seq":7,"arcp":"1.1","id":"msg_2","timestamp":"2026-07-01T10:00:00Z","type":"job.progress","job_id":"job_1","payload":{"current":2,"total":8,"units":"steps","percent":25}}
}

func ExampleParseAmount() {
	a, err := envelope.ParseAmount("USD:5.00")
	fmt.Println(a, err)
	// Output: USD:5 <nil>
}
