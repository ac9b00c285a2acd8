package chaos

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/arcp-nats/arcp/record"
)

// Report is what a run found, and how much there was to find it in.
type Report struct {
	Seed       uint64
	Took       time.Duration
	Violations []Violation
	Sessions   int
	// Jobs counts the jobs by how they ended.
	Jobs map[string]int
	// Faults counts the faults by kind.
	Faults map[Kind]int
	// Envelopes is the number of frames that were judged; Numbered those of them with a number, each once.
	Envelopes, Numbered int
	// Types counts the numbered ones by type.
	Types map[string]int
	// Resumes is the number of connections after each client's first; Nacks that of refusals for want of the log;
	// Repeats that of acceptances of keys that were known; Restarts that of attempts at jobs beyond the first.
	Resumes, Nacks, Repeats, Restarts int

	faults   []Fault
	evidence *Evidence
}

func newReport(seed uint64, faults []Fault, e *Evidence) *Report {
	c := newTrial(e)
	r := &Report{
		Seed: seed, Violations: c.judge(), Sessions: len(e.Sessions), Jobs: make(map[string]int), Faults: make(map[Kind]int), Types: make(map[string]int),
		faults: faults, evidence: e,
	}
	for _, f := range faults {
		r.Faults[f.Kind]++
	}
	for _, s := range c.sessions {
		r.Envelopes += len(s.frames)
		r.Numbered += len(s.counted)
		r.Resumes += max(len(s.Links)-1, 0)
		for _, f := range s.frames {
			if f.Type == "nack" {
				r.Nacks++
			}
		}
		for _, f := range s.counted {
			r.Types[f.Type]++
			if f.Type == "job.accepted" && f.IdempotencyKey != "" {
				r.Repeats++
			}
		}
	}
	for _, j := range c.jobs {
		outcome := "no end"
		if _, end := j.ended(); end != nil {
			outcome = strings.TrimPrefix(end.Type, "job.")
			if code := end.read().Code; code != "" {
				outcome += " " + code
			}
		}
		r.Jobs[outcome]++
		r.Restarts += max(j.attempts()-1, 0)
	}
	return r
}

// maxListed bounds the violations that String shows. The notes have them all.
const maxListed = 20

// String shows the report.
func (r *Report) String() string { return r.text(maxListed) }

func (r *Report) text(most int) string {
	var b strings.Builder
	jobs := 0
	for _, n := range r.Jobs {
		jobs += n
	}
	fmt.Fprintf(&b, "seed %d: %v, %d sessions, %d resumes, %d jobs (%d further attempts), %d repeated acceptances, %d nacks\n",
		r.Seed, r.Took.Round(time.Millisecond), r.Sessions, r.Resumes, jobs, r.Restarts, r.Repeats, r.Nacks)
	fmt.Fprintf(&b, "jobs: %s\n", counts(r.Jobs))
	fmt.Fprintf(&b, "faults: %s\n", counts(r.Faults))
	fmt.Fprintf(&b, "envelopes: %d received and checked, %d of them different ones with a number\n", r.Envelopes, r.Numbered)
	fmt.Fprintf(&b, "types: %s\n", counts(r.Types))
	fmt.Fprintf(&b, "violations: %d", len(r.Violations))
	for i, v := range r.Violations {
		if i == most {
			fmt.Fprintf(&b, "\n  and %d more", len(r.Violations)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %s", v)
	}
	return b.String()
}

func counts[K cmp.Ordered](of map[K]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, fmt.Sprintf("%v %d", k, of[k]))
	}
	return strings.Join(parts, ", ")
}

// save writes what there is to study: the report, the schedule, each client's notes, and the log.
func (r *Report) save(dir string) error {
	var schedule bytes.Buffer
	for _, f := range r.faults {
		fmt.Fprintln(&schedule, f)
	}
	files := map[string][]byte{
		"credentials.txt": credentialText(r.evidence.Issued),
		"report.txt":      []byte(r.text(len(r.Violations)) + "\n"), "schedule.txt": schedule.Bytes(), "log.txt": logText(r.evidence.Log),
	}
	for _, s := range r.evidence.Sessions {
		files[s.Client+".txt"] = sessionText(s)
	}
	for name, data := range files {
		if err := writeFile(logFolder(dir), name, data); err != nil {
			return err
		}
	}
	return nil
}

// logText shows a record on a line for its place and one for each envelope.
func logText(log []*record.Record) []byte {
	var b bytes.Buffer
	for _, r := range log {
		fmt.Fprintf(&b, "%d %s %s attempt=%d sender=%s\n", r.Seq, r.Time.UTC().Format(time.RFC3339Nano), r.Subject, r.Attempt, r.Sender)
		for _, line := range r.Lines() {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	return b.Bytes()
}

// credentialText shows what was issued.
func credentialText(all []Issued) []byte {
	var b bytes.Buffer
	for i := range all {
		data, _ := json.Marshal(&all[i]) // texts and times
		fmt.Fprintf(&b, "%s\n", data)
	}
	return b.Bytes()
}

// sessionText shows what a client sent, and then what it received, connection by connection.
func sessionText(s *Session) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s of %s: %s\n", s.Client, s.Principal, s.ID)
	for i := range s.Requests {
		data, _ := json.Marshal(&s.Requests[i]) // texts and numbers
		fmt.Fprintf(&b, "> %s\n", data)
	}
	for i, l := range s.Links {
		fmt.Fprintf(&b, "== connection %d to %s, after number %d\n", i+1, l.Edge, l.From)
		for _, data := range l.Frames {
			fmt.Fprintf(&b, "< %s\n", data)
		}
	}
	return b.Bytes()
}
