package integration_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

// A transcript is what a client of the hello dialect says, and what it must hear. testdata/hello has them, a scene for each rule
// that clients rely on:
//
//	=== RULES: what the scene shows        RULES are numbers of docs/hello-dialect.md, A and a number those of its annex
//	only G T                               the families of clients it is for; else all
//	C> {"type": ...}                       the client says this; id and session_id are filled in
//	S> {"type": ...}                       the next frame has at least these members
//	S* {"type": ...}                       one of the next frames has
//	open | open PRINCIPAL                  opens a session, with all features
//	dial | dial N                          connects, to go on with a session after event_seq N
//	resume N                               goes on with the session on the other edge, after event_seq N
//	closed CODE                            the edge closes the connection
//	binary                                 the client sends a binary frame
//	other ...                              the same for a second client on the other edge
//
// In a frame, ${name} is a value that was heard before under that name, or is called so from here on; "*" is any value but null, "-" is
// none, "{}" an empty object. ${id} is that of the client's last message, ${key} is new in each run of a scene.

// scene is one of a transcript.
type scene struct {
	rules    []string
	what     string
	families []string
	steps    []string
}

func scenes(t *testing.T) (all []scene) {
	t.Helper()
	files, err := filepath.Glob("testdata/hello/*.txt")
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			head, isHead := strings.CutPrefix(line, "=== ")
			only, isOnly := strings.CutPrefix(line, "only ")
			switch {
			case isHead:
				rules, what, ok := strings.Cut(head, ": ")
				require.True(t, ok, line)
				all = append(all, scene{rules: strings.Fields(rules), what: what, families: slices.Sorted(maps.Keys(families))})
			case line == "", strings.HasPrefix(line, "#"):
			case isOnly:
				all[len(all)-1].families = strings.Fields(only)
			default:
				s := &all[len(all)-1]
				s.steps = append(s.steps, line)
			}
		}
	}
	require.NotEmpty(t, all)
	return all
}

// player plays a scene as clients of a family.
type player struct {
	t      *testing.T
	urls   []string
	family string
	vars   map[string]any
	peers  [2]*helloPeer
}

func TestHelloTranscripts(t *testing.T) {
	_, first, second := newHelloStack(t)
	for _, tool := range []string{"sleep", "count", "delegate", "chunks", "charge", "fail", "panic"} {
		first.knows(t, tool)
		second.knows(t, tool)
	}
	for i, s := range scenes(t) {
		for _, family := range s.families {
			t.Run(strings.Join(s.rules, "+")+" "+s.what+"/"+family, func(t *testing.T) {
				p := &player{t: t, urls: []string{first.url, second.url}, family: family, vars: map[string]any{
					"alice": aliceToken, "bob": bobToken, "key": fmt.Sprint("key-", i, "-", family), "trace": "0af7651916cd43dd8448eb211c80319c",
				}}
				for _, step := range s.steps {
					p.step(step)
				}
			})
		}
	}
}

func (p *player) step(line string) {
	p.t.Helper()
	who := 0
	if rest, other := strings.CutPrefix(line, "other "); other {
		who, line = 1, rest
	}
	verb, rest, _ := strings.Cut(line, " ")
	if verb != "open" && verb != "dial" {
		require.NotNil(p.t, p.peers[who], line)
	}
	h := p.peers[who]
	switch verb {
	case "dial":
		p.peers[who] = dialHello(p.t, p.urls[who], p.family)
		last := 0
		if rest != "" {
			var err error
			last, err = strconv.Atoi(rest)
			require.NoError(p.t, err, line)
		}
		p.peers[who].linter.Connected(rest != "", uint64(last))
	case "open":
		token := aliceToken
		if rest != "" {
			token = p.vars[rest].(string)
		}
		p.peers[who] = openHello(p.t, p.urls[who], p.family, token)
		p.learn(who)
	case "resume":
		last, err := strconv.Atoi(rest)
		require.NoError(p.t, err, line)
		require.Equal(p.t, "session.welcome", h.resume(p.urls[1-who], aliceToken, last).Type(), line)
		p.learn(who)
	case "closed":
		require.Equal(p.t, rest, fmt.Sprint(h.p.Closed()), line)
	case "binary":
		require.NoError(p.t, h.p.TryWrite(websocket.MessageBinary, []byte("{}")))
	case "C>":
		p.say(h, rest)
	case "S>":
		m := h.read()
		require.Empty(p.t, p.match("", p.wanted(rest), map[string]any(m)), "%s\nheard %v", line, m)
		if m.Type() == "session.welcome" {
			h.session, h.token = m.Str("session_id"), m.Payload().Str("resume_token")
		}
	case "S*":
		want := p.wanted(rest)
		for {
			m := h.read()
			if why := p.match("", want, map[string]any(m)); why == "" {
				return
			}
		}
	default:
		require.Fail(p.t, "no such step", line)
	}
}

func (p *player) learn(who int) {
	if who == 0 {
		p.vars["session"], p.vars["token"] = p.peers[0].session, p.peers[0].token
	}
}

var variable = regexp.MustCompile(`\$\{(\w+)\}`)

// say sends a message with what the step leaves out.
func (p *player) say(h *helloPeer, text string) {
	p.t.Helper()
	text = variable.ReplaceAllStringFunc(text, func(name string) string {
		if value, known := p.vars[name[2:len(name)-1]]; known {
			return fmt.Sprint(value)
		}
		return name
	})
	var m obj
	require.NoError(p.t, json.Unmarshal([]byte(text), &m), text)
	members := []any{}
	for name, value := range m {
		if name != "type" && name != "payload" && name != "id" {
			members = append(members, name, value)
		}
	}
	if m["payload"] == nil {
		m["payload"] = obj{}
	}
	id, repeats := m["id"].(string)
	if repeats && !variable.MatchString(id) { // what was said before, once more
		members = append(members, "id", id)
	}
	sent := h.send(m["type"].(string), m["payload"], members...)
	p.vars["id"] = sent
	if name := variable.FindStringSubmatch(id); name != nil {
		p.vars[name[1]] = sent
	}
}

func (p *player) wanted(text string) (want any) {
	p.t.Helper()
	require.NoError(p.t, json.Unmarshal([]byte(text), &want), text)
	return want
}

// match says how a value differs from what is wanted, "" if it does not.
func (p *player) match(at string, want, got any) string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is %v", at, got)
		}
		for name, value := range w {
			inner, there := g[name]
			if value == "-" {
				if there {
					return fmt.Sprintf("%s.%s is %v", at, name, inner)
				}
				continue
			}
			if !there {
				return at + "." + name + " is missing"
			}
			if why := p.match(at+"."+name, value, inner); why != "" {
				return why
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Sprintf("%s is %v", at, got)
		}
		for i := range w {
			if why := p.match(fmt.Sprint(at, "[", i, "]"), w[i], g[i]); why != "" {
				return why
			}
		}
		return ""
	case string:
		name := variable.FindStringSubmatch(w)
		switch {
		case w == "*" && got != nil:
			return ""
		case w == "{}":
			if g, ok := got.(map[string]any); ok && len(g) == 0 {
				return ""
			}
			return fmt.Sprintf("%s is %v", at, got)
		case name != nil && p.vars[name[1]] == nil:
			p.vars[name[1]] = got
			return ""
		case name != nil:
			want = variable.ReplaceAllStringFunc(w, func(v string) string { return fmt.Sprint(p.vars[v[2:len(v)-1]]) })
		}
	}
	if want != got {
		return fmt.Sprintf("%s is %v", at, got)
	}
	return ""
}

// TestHelloRulesAreShown: each rule of the tables is shown by a scene or by a test that there is, and each scene shows rules that
// there are.
func TestHelloRulesAreShown(t *testing.T) {
	inScenes := make(map[string]bool)
	for _, s := range scenes(t) {
		for _, rule := range s.rules {
			inScenes[rule] = true
		}
	}
	tests := make(map[string]bool)
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	require.NoError(t, filepath.WalkDir("..", func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(text, -1) {
			tests[string(m[1])] = true
		}
		return err
	}))
	ruled := make(map[string]bool)
	for file, prefix := range map[string]string{"hello-rules.md": "", "hello-dialect.md": "A"} {
		text, err := os.ReadFile(filepath.Join("..", "docs", file))
		require.NoError(t, err)
		rows := regexp.MustCompile("(?m)^\\| ([0-9, ]+) \\| .* \\| `(\\w+)` \\|$").FindAllSubmatch(text, -1)
		require.Greater(t, len(rows), 25, file)
		for _, row := range rows {
			for _, number := range strings.Split(string(row[1]), ", ") {
				rule := prefix + number
				ruled[rule] = true
				if by := string(row[2]); by == "transcript" {
					require.True(t, inScenes[rule], "%s: no scene shows rule %s", file, rule)
				} else {
					require.True(t, tests[by], "%s: there is no %s", file, by)
				}
			}
		}
	}
	for rule := range inScenes {
		require.True(t, ruled[rule], "a scene shows rule %s, which no table has", rule)
	}
}
