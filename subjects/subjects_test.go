package subjects_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/subjects"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// name draws any string: plain names, names full of separators and wildcards, any Unicode, any bytes.
func name() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[a-z]{1,6}(@[0-9]{1,2}(\.[0-9]){0,2})?`),
		rapid.StringOfN(rapid.SampledFrom([]rune("_.*>=~% \t\r\n\x00/a5F")), 0, 6, -1),
		rapid.String(),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 80), func(b []byte) string { return string(b) }),
	)
}

func subject() *rapid.Generator[subjects.Subject] {
	return rapid.Custom(func(t *rapid.T) subjects.Subject {
		s := subjects.Subject{
			Shard:     rapid.IntRange(0, 1000).Draw(t, "shard"),
			Lane:      rapid.SampledFrom([]subjects.Lane{subjects.Invoke, subjects.Event, subjects.Input}).Draw(t, "lane"),
			Feed:      name().Draw(t, "feed"),
			Principal: name().Draw(t, "principal"),
			Session:   name().Draw(t, "session"),
			Job:       name().Draw(t, "job"),
		}
		if s.Lane == subjects.Invoke {
			s.Queue, s.Tool = name().Draw(t, "queue"), name().Draw(t, "tool")
		}
		return s
	})
}

func requireToken(t require.TestingT, token string) {
	require.NotEmpty(t, token)
	require.Equal(t, -1, strings.IndexFunc(token, func(r rune) bool {
		return strings.ContainsRune(".*>", r) || unicode.IsSpace(r) || !unicode.IsPrint(r) || r > unicode.MaxASCII
	}), "%q", token)
}

func TestEscapeKeepsNamesReadable(t *testing.T) {
	for name, token := range map[string]string{
		"echo@1":     "echo@1",
		"tools-a_b":  "tools-a_b",
		"a/b:c+d,e":  "a/b:c+d,e",
		"echo@1.2":   "echo@1=2E2",
		"":           "=",
		"_":          "=5F",
		"__":         "__",
		"a b*c>d":    "a=20b=2Ac=3Ed",
		"=":          "=3D",
		"ü":          "=C3=BC",
		"\x00\n\x7f": "=00=0A=7F",
	} {
		require.Equal(t, token, subjects.Escape(name))
	}
}

func TestEscapeIsReversibleAndSafe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := name().Draw(t, "a"), name().Draw(t, "b")
		token := subjects.Escape(a)
		requireToken(t, token)
		require.NotEqual(t, "_", token)
		back, err := subjects.Unescape(token)
		require.NoError(t, err)
		require.Equal(t, a, back)
		require.Equal(t, a == b, token == subjects.Escape(b))
	})
}

func TestUnescapeRefusesWhatEscapeDoesNotMake(t *testing.T) {
	for _, token := range []string{"", "_", "a.b", "a b", "*", ">", "=4", "=4g", "=2e", "=41", "a=", "ü", "%20", "~abc"} {
		_, err := subjects.Unescape(token)
		require.Error(t, err, "%q", token)
	}
	rapid.Check(t, func(t *rapid.T) {
		token := name().Draw(t, "token")
		if back, err := subjects.Unescape(token); err == nil {
			require.Equal(t, token, subjects.Escape(back))
		}
	})
}

func TestSubjects(t *testing.T) {
	s := subjects.Subject{
		Shard: 2, Lane: subjects.Invoke, Queue: "demo", Tool: "echo@1", Feed: "edge-1", Principal: "ann", Session: "sess_1", Job: "job_1",
	}
	require.Equal(t, "arcp.2.tool.invoke.demo.echo@1.edge-1.ann.sess_1.job_1", s.String())
	require.Equal(t, "arcp.2.event.edge-1.ann.sess_1.job_1", subjects.JobEvents(s).String())
	require.Equal(t, "arcp.2.input.edge-1.ann.sess_1.job_1", subjects.JobInput(s).String())
	reply := subjects.JobEvents(s)
	reply.Job = ""
	require.Equal(t, "arcp.2.event.edge-1.ann.sess_1._", reply.String())
	require.Equal(t, "ARCP_LOG_2", subjects.StreamName(2))
}

func TestParseReadsWhatStringMakes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := subject().Draw(t, "subject")
		text := s.String()
		for token := range strings.SplitSeq(text, ".") {
			requireToken(t, token)
		}
		parsed, err := subjects.Parse(text)
		require.NoError(t, err)
		require.Equal(t, text, parsed.String(), "whatever was hashed")
		if parsed.Hashed() {
			require.NotEqual(t, s, parsed)
			parsed, err = parsed.WithPrincipal(s.Principal)
			require.NoError(t, err)
		}
		require.Equal(t, s, parsed)
	})
}

func TestDifferentSubjectsHaveDifferentNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := subject().Draw(t, "a"), subject().Draw(t, "b")
		require.Equal(t, a == b, a.String() == b.String())
	})
}

func TestLongPrincipalsAreHashed(t *testing.T) {
	long := strings.Repeat("x", 65)
	token := subjects.PrincipalToken(long)
	require.Len(t, token, 53)
	requireToken(t, token)
	require.Equal(t, strings.Repeat("x", 64), subjects.PrincipalToken(strings.Repeat("x", 64)))
	require.NotEqual(t, token, subjects.PrincipalToken(long+"x"))
	// A principal that is named like a hash is not taken for the one that was hashed.
	require.NotEqual(t, token, subjects.PrincipalToken(token))

	s, err := subjects.Parse(subjects.Subject{Principal: long}.String())
	require.NoError(t, err)
	require.Equal(t, token, s.Principal)
	require.Contains(t, subjects.JobEvents(s).String(), "."+token+".", "a hash is not hashed again")
	_, err = s.WithPrincipal("somebody else")
	require.Error(t, err)
}

func TestParseRefusesWhatStringDoesNotMake(t *testing.T) {
	for _, text := range []string{
		"", "arcp", "arcp.", "arcp.0", "arcp.x.event.f.p.s.j", "arcp.-1.event.f.p.s.j", "arcp.00.event.f.p.s.j", "arcp.+1.event.f.p.s.j",
		"arcp.0.event.f.p.s", "arcp.0.event.f.p.s.j.k", "arcp.0.other.f.p.s.j", "arcp.0.tool.invoke.f.p.s.j", "arcp.0.tool.other.q.t.f.p.s.j",
		"arcp.0.event..p.s.j", "arcp.0.event.*.p.s.j", "arcp.0.event.f.p.s.>", "arcp.0.event._.p.s.j", "arcp.0.event.f.p.s.=",
		"arcp.0.event.f." + strings.Repeat("p", 65) + ".s.j", "arcp.0.event.f.~abc.s.j", "arcp.99999999999999999999.event.f.p.s.j",
	} {
		_, err := subjects.Parse(text)
		require.Error(t, err, "%q", text)
	}
}

// matches is the server's rule: "*" stands for one token, ">" for one or more at the end.
func matches(filter, subject string) bool {
	f, s := strings.Split(filter, "."), strings.Split(subject, ".")
	for i, token := range f {
		switch {
		case token == ">":
			return i == len(f)-1 && len(s) > i
		case i >= len(s), token != "*" && token != s[i]:
			return false
		}
	}
	return len(f) == len(s)
}

func matchesAny(filters []string, subject string) bool {
	for _, filter := range filters {
		if matches(filter, subject) {
			return true
		}
	}
	return false
}

// near draws a subject that shares most names with s, as strangers' names are never near a filter.
func near(t *rapid.T, s subjects.Subject) subjects.Subject {
	other := subject().Draw(t, "other")
	for _, field := range []struct{ to, from *string }{
		{&other.Feed, &s.Feed}, {&other.Principal, &s.Principal}, {&other.Session, &s.Session}, {&other.Job, &s.Job},
	} {
		if rapid.IntRange(0, 3).Draw(t, "keep") > 0 {
			*field.to = *field.from
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "keep") > 0 {
		other.Shard = s.Shard
	}
	if other.Lane == subjects.Invoke && s.Lane == subjects.Invoke && rapid.Bool().Draw(t, "keep") {
		other.Queue = s.Queue
	}
	return other
}

func TestFiltersMatchExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := subject().Draw(t, "subject")
		o := near(t, s)
		text := o.String()
		shown := o.Lane == subjects.Invoke || o.Lane == subjects.Event
		sameFeed := o.Shard == s.Shard && o.Feed == s.Feed
		sameSession := sameFeed && o.Principal == s.Principal && o.Session == s.Session
		require.Equal(t, o.Shard == s.Shard, matchesAny(subjects.StreamSubjects(s.Shard), text))
		require.Equal(t, shown && sameFeed, matchesAny(subjects.FeedFilters(s.Shard, s.Feed), text))
		require.Equal(t, shown && sameSession, matchesAny(subjects.SessionFilters(s.Shard, s.Feed, s.Principal, s.Session), text))
		require.Equal(t, shown && sameSession, matchesAny(s.SessionFilters(), text))
		require.Equal(t, o.Lane == subjects.Input && o.Shard == s.Shard, matches(subjects.InputFilter(s.Shard), text))
		samePrincipal := o.Shard == s.Shard && o.Principal == s.Principal
		require.Equal(t, samePrincipal, matchesAny(subjects.PrincipalFilters(s.Shard, s.PrincipalToken()), text))
		others := subjects.PrincipalFilters(s.Shard, subjects.PrincipalToken(o.Principal), s.PrincipalToken())
		require.Equal(t, o.Shard == s.Shard, matchesAny(others, text))
		require.Equal(t, samePrincipal && o.Session == s.Session,
			matchesAny(subjects.PrincipalSessionFilters(s.Shard, s.Principal, s.Session), text))
		invocation := o.Lane == subjects.Invoke && o.Shard == s.Shard
		require.Equal(t, invocation && o.Queue == s.Queue, matches(subjects.QueueFilter(s.Shard, s.Queue), text))
		require.Equal(t, invocation && (s.Principal == "" || o.Principal == s.Principal) && (s.Job == "" || o.Job == s.Job),
			matches(subjects.InvocationFilter(s.Shard, s.Principal, s.Job), text))
	})
}

func TestKey(t *testing.T) {
	require.Equal(t, "queue.tools-a/b.x=40y", subjects.Key("queue", "tools-a/b", "x@y"))
	require.Equal(t, "=.=", subjects.Key("", ""))
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_/=."
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SliceOfN(name(), 1, 4).Draw(t, "a")
		b := rapid.SliceOfN(name(), 1, 4).Draw(t, "b")
		key := subjects.Key(a[0], a[1:]...)
		require.Empty(t, strings.Trim(key, allowed))
		require.NotContains(t, key, "..")
		require.NotEqual(t, byte('.'), key[0])
		require.NotEqual(t, byte('.'), key[len(key)-1])
		parts, err := subjects.ParseKey(key)
		require.NoError(t, err)
		require.Equal(t, a, parts)
		require.Equal(t, strings.Join(a, "\xff|") == strings.Join(b, "\xff|") && len(a) == len(b), key == subjects.Key(b[0], b[1:]...))
	})
	for _, key := range []string{"", ".", "a.", ".a", "a..b", "a@b", "a=4", "a=41", "a b"} {
		_, err := subjects.ParseKey(key)
		require.Error(t, err, "%q", key)
	}
}

func TestConsumerName(t *testing.T) {
	require.Equal(t, "queue_demo", subjects.ConsumerName("demo"))
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=~"
	rapid.Check(t, func(t *rapid.T) {
		a, b := name().Draw(t, "a"), name().Draw(t, "b")
		consumer := subjects.ConsumerName(a)
		require.Empty(t, strings.Trim(consumer, allowed))
		require.LessOrEqual(t, len(consumer), 134)
		require.Equal(t, a == b, consumer == subjects.ConsumerName(b))
	})
}

func FuzzParse(f *testing.F) {
	f.Add("arcp.2.tool.invoke.demo.echo@1.edge-1.ann.sess_1.job_1")
	f.Add("arcp.0.event.f." + subjects.PrincipalToken(strings.Repeat("x", 99)) + ".s._")
	f.Add("arcp.0.input.=.=5F.=20.=C3=BC")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := subjects.Parse(text); err == nil {
			require.Equal(t, text, s.String())
		}
	})
}

func BenchmarkString(b *testing.B) {
	s := subjects.Subject{Lane: subjects.Event, Feed: "edge-1", Principal: "ann", Session: "sess_01K8Q2W0A00000000000S00001", Job: "job_01K8Q2W0A00000000000J00001"}
	b.ReportAllocs()
	for b.Loop() {
		_ = s.String()
	}
}

func BenchmarkParse(b *testing.B) {
	const text = "arcp.0.event.edge-1.ann.sess_01K8Q2W0A00000000000S00001.job_01K8Q2W0A00000000000J00001"
	b.ReportAllocs()
	for b.Loop() {
		if _, err := subjects.Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}
