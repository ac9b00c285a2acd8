package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/arcp-nats/arcp/envelope"
)

const head = `# Message types and how far they are built

<!-- Written by go generate from the catalogue in package envelope. Do not edit. -->

The table has every message type of the open dialect, in the order of section 2 of [protocol.md](protocol.md).

| column | meaning |
| --- | --- |
| dir | who sends it: ` + "`c>r`" + ` client to runtime, ` + "`r>c`" + ` runtime to client, ` + "`both`" + ` |
| counted | it takes an ` + "`event_seq`" + ` when the runtime sends it |
| gate | it is allowed before the session is open |
| later | clients of 2.0.0 do not know it |
| support | ` + "`implemented`" + `; ` + "`unimplemented`" + `: answered by ` + "`nack`" + ` UNIMPLEMENTED; ` + "`wire`" + `: read and written by package envelope, ` +
	`nothing acts on it yet, and a client that sends it gets ` + "`nack`" + ` UNIMPLEMENTED too |
| proof | a test that fails if it does not work |

`

// reservedProof is the test that sends each of the reserved names to an edge.
const reservedProof = "TestEX3ReservedNamesAreUnimplemented"

// render makes the page.
func render() []byte {
	var b bytes.Buffer
	b.WriteString(head)
	rows := envelope.Catalogue()
	b.WriteString(counts(rows))
	b.WriteString("\n| type | dir | counted | gate | later | support | proof | note |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, row := range rows {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s | %s |\n",
			row.Type, row.Direction, yes(row.Countable), yes(row.Handshake), yes(row.Later), row.Support, code(row.Proof), note(row))
	}
	b.WriteString("\nReserved names, whose messages are answered with `nack` UNIMPLEMENTED:\n\n| name | support | proof |\n| --- | --- | --- |\n")
	for _, name := range envelope.Reserved() {
		fmt.Fprintf(&b, "| `%s` | %s | `%s` |\n", name, envelope.Unimplemented, reservedProof)
	}
	b.WriteString(helloPart)
	return b.Bytes()
}

// counts says how many types have which support.
func counts(rows []envelope.Row) string {
	var n [envelope.Unimplemented + 1]int
	for _, row := range rows {
		n[row.Support]++
	}
	return fmt.Sprintf("%d types: %d implemented, %d wire, %d unimplemented.\n",
		len(rows), n[envelope.Implemented], n[envelope.Wire], n[envelope.Unimplemented])
}

func note(row envelope.Row) string {
	note := row.Note
	if row.MaxBytes > 0 {
		if note != "" {
			note += "; "
		}
		note += fmt.Sprintf("up to %d MiB", row.MaxBytes>>20)
	}
	return strings.ReplaceAll(note, "|", `\|`)
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// helloPart says where the log has what the other dialect has and the open one has not.
const helloPart = "\n## What the hello dialect has besides\n\n" +
	"The log has one form. What the messages of [hello-dialect.md](hello-dialect.md) have and those above have not stands in it as\n" +
	"follows; clients of the open dialect can read all of it.\n\n" +
	"| hello | in the log | a client of the open dialect gets |\n| --- | --- | --- |\n" +
	"| `thought` | a stream of kind `thought`, whose chunks say so in the extension `arcpx.stream.kind.v1` | `stream.open`, `stream.chunk`, `stream.close` |\n" +
	"| `tool_call`, `status`, `delegate`, `x-vendor.*` | `event.emit` with that name, and the body as data | `event.emit` |\n" +
	"| `call_id` of a `tool_result` | the extension `arcpx.tool.call_id.v1` of `tool.result` and `tool.error` | an extension that it need not know |\n" +
	"| `max_runtime_sec` | a member of the payload of `tool.invoke` | a member that it need not know |\n" +
	"| `fs.read`, `fs.write`, `net.fetch`, `tool.call`, `agent.delegate`, `x-vendor.*` of a lease | members of `lease_request` with these names | members that it need not know |\n" +
	"| `agent`, `parent_job_id` of an acceptance; `lease`, `budget`, `credentials` of a subscription; `lease` of a listing | members of the payloads of `job.accepted`, `job.subscribed` and `session.jobs`; credentials are never stored | members that it need not know |\n" +
	"| `back_pressure` | `event.emit` `status` of the session, about its newest job | nothing: its sessions are not told so |\n"
