package subjects

import (
	"fmt"
	"strconv"
	"strings"
)

// Lane is a kind of record: who wrote it, and who reads it.
type Lane uint8

const (
	Invoke Lane = iota // an accepted job: edges write, workers and edges read
	Event              // what the runtime says about a session: workers and edges write, edges read
	Input              // what a client says to its running job: edges write, workers read
)

// String returns the lane's name for logs.
func (l Lane) String() string {
	switch l {
	case Invoke:
		return "invoke"
	case Event:
		return "event"
	case Input:
		return "input"
	}
	return "lane " + strconv.Itoa(int(l))
}

// Subject says where a record stands in the log. The zero value is no useful subject; every name may be any string.
type Subject struct {
	Shard       int    // which log stream, from 0
	Lane        Lane   //
	Queue, Tool string // lane Invoke only: the queue that workers read, the resolved name@version
	Feed        string // the slice of the shard that one edge reads
	Principal   string // the authenticated one; after Parse of a hashed token, that token
	Session     string
	Job         string // "" if the record belongs to no job

	hashed bool // Principal is a token already
}

// String returns the subject's name on the broker.
func (s Subject) String() string {
	b := make([]byte, 0, 160)
	b = append(b, root...)
	b = strconv.AppendInt(b, int64(s.Shard), 10)
	switch s.Lane {
	case Invoke:
		b = append(b, ".tool.invoke."...)
		b = append(b, Escape(s.Queue)...)
		b = append(b, '.')
		b = append(b, Escape(s.Tool)...)
		b = append(b, '.')
	case Event:
		b = append(b, ".event."...)
	default:
		b = append(b, ".input."...)
	}
	b = append(b, Escape(s.Feed)...)
	b = append(b, '.')
	b = append(b, s.PrincipalToken()...)
	b = append(b, '.')
	b = append(b, Escape(s.Session)...)
	b = append(b, '.')
	if s.Job == "" {
		b = append(b, none...)
	} else {
		b = append(b, Escape(s.Job)...)
	}
	return string(b)
}

// PrincipalToken returns the token that stands for the principal in the subject.
func (s Subject) PrincipalToken() string {
	if s.hashed {
		return s.Principal
	}
	return PrincipalToken(s.Principal)
}

// Hashed tells whether Principal is the token of a principal whose name was too long to be written out. That is so only
// after Parse.
func (s Subject) Hashed() bool { return s.hashed }

// WithPrincipal returns the subject with the full name of its principal in place of the hash that Parse found. It fails
// if the name is not the one that was hashed.
func (s Subject) WithPrincipal(principal string) (Subject, error) {
	if PrincipalToken(principal) != s.PrincipalToken() {
		return s, fmt.Errorf("subjects: the principal does not belong to the subject's token %q", s.PrincipalToken())
	}
	s.Principal, s.hashed = principal, false
	return s, nil
}

// Parse reads a subject that String made. It refuses everything that String does not return.
func Parse(subject string) (Subject, error) {
	var s Subject
	fail := func(reason string) (Subject, error) {
		return Subject{}, fmt.Errorf("subjects: %q: %s", subject, reason)
	}
	rest, ok := strings.CutPrefix(subject, root)
	if !ok {
		return fail("not below " + root)
	}
	tokens := strings.Split(rest, ".")
	shard, err := strconv.Atoi(tokens[0])
	if err != nil || shard < 0 || strconv.Itoa(shard) != tokens[0] {
		return fail("bad shard")
	}
	s.Shard = shard
	switch tokens = tokens[1:]; {
	case len(tokens) == 8 && tokens[0] == "tool" && tokens[1] == "invoke":
		s.Lane = Invoke
		if s.Queue, err = Unescape(tokens[2]); err != nil {
			return fail(err.Error())
		}
		if s.Tool, err = Unescape(tokens[3]); err != nil {
			return fail(err.Error())
		}
		tokens = tokens[4:]
	case len(tokens) == 5 && tokens[0] == "event":
		s.Lane, tokens = Event, tokens[1:]
	case len(tokens) == 5 && tokens[0] == "input":
		s.Lane, tokens = Input, tokens[1:]
	default:
		return fail("no such lane")
	}
	if s.Feed, err = Unescape(tokens[0]); err != nil {
		return fail(err.Error())
	}
	if isHashed(tokens[1]) {
		s.Principal, s.hashed = tokens[1], true
	} else if s.Principal, err = Unescape(tokens[1]); err != nil {
		return fail(err.Error())
	} else if len(tokens[1]) > longest {
		return fail("a long principal must be hashed")
	}
	if s.Session, err = Unescape(tokens[2]); err != nil {
		return fail(err.Error())
	}
	if tokens[3] != none {
		if s.Job, err = Unescape(tokens[3]); err != nil {
			return fail(err.Error())
		}
		if s.Job == "" {
			return fail("empty job")
		}
	}
	return s, nil
}

// JobEvents returns the subject of the events of a job, given any subject of the job.
func JobEvents(s Subject) Subject { return s.on(Event) }

// JobInput returns the subject of what clients say to a job, given any subject of the job.
func JobInput(s Subject) Subject { return s.on(Input) }

func (s Subject) on(lane Lane) Subject {
	s.Lane, s.Queue, s.Tool = lane, "", ""
	return s
}
