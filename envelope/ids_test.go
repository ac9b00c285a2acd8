package envelope

import (
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// 1.2: prefix, underscore, 26 characters of upper-case Crockford base32.
func Test_1_2_MintedForm(t *testing.T) {
	for prefix, id := range map[string]string{
		"msg": string(NewMessageID()), "sess": string(NewSessionID()), "job": string(NewJobID()),
		"str": string(NewStreamID()), "sub": string(NewSubscriptionID()),
		"lease": string(NewLeaseID()), "art": string(NewArtifactID()),
	} {
		require.Regexp(t, regexp.MustCompile(`^`+prefix+`_[0-7][0-9A-HJKMNP-TV-Z]{25}$`), id)
	}
}

// 1.2: on input prefix, underscore and a non-empty rest are checked.
func Test_1_2_Parse(t *testing.T) {
	for prefix, parse := range map[string]func(string) error{
		"msg":   func(s string) error { _, err := ParseMessageID(s); return err },
		"sess":  func(s string) error { _, err := ParseSessionID(s); return err },
		"job":   func(s string) error { _, err := ParseJobID(s); return err },
		"str":   func(s string) error { _, err := ParseStreamID(s); return err },
		"sub":   func(s string) error { _, err := ParseSubscriptionID(s); return err },
		"lease": func(s string) error { _, err := ParseLeaseID(s); return err },
		"art":   func(s string) error { _, err := ParseArtifactID(s); return err },
	} {
		for _, good := range []string{prefix + "_1", prefix + "__", prefix + "_ é \n", prefix + "_" + strings.Repeat("x", 1000)} {
			require.NoError(t, parse(good), good)
		}
		for _, bad := range []string{"", prefix, prefix + "_", prefix + "-1", strings.ToUpper(prefix) + "_1", " " + prefix + "_1", "x" + prefix + "_1", "_1"} {
			require.Error(t, parse(bad), bad)
		}
	}
}

func TestMintedIDsRiseAndDiffer(t *testing.T) {
	const goroutines, each = 8, 2000
	lists := make([][]string, goroutines)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for range each {
				lists[g] = append(lists[g], string(NewMessageID()))
			}
		})
	}
	wg.Wait()
	all := map[string]bool{}
	for _, list := range lists {
		for i, id := range list {
			require.False(t, all[id], "minted twice")
			all[id] = true
			require.True(t, i == 0 || list[i-1] < id, "ids of one goroutine rise")
		}
	}
}

// The clock may step back or jump ahead; ids still rise.
func TestMinterSurvivesTheClock(t *testing.T) {
	clock := []uint64{100, 50, 10, 200, 5}
	step := -1
	m := idMinter{random: minter.random, now: func() uint64 { step++; return clock[step%len(clock)] }}
	last := ""
	for range 1000 {
		id := m.mint(messagePrefix)
		require.Greater(t, id, last)
		last = id
	}
	require.EqualValues(t, 200, m.last.Time())
}

// Random bytes that are all ones use a millisecond up soon.
func TestMinterBorrowsTheNextMillisecond(t *testing.T) {
	m := idMinter{now: func() uint64 { return 7 }, random: func(b []byte) {
		for i := range b {
			b[i] = 0xff
		}
	}}
	first := m.mint(messagePrefix)
	for i := 6; i < len(m.last); i++ {
		m.last[i] = 0xff
	}
	second := m.mint(messagePrefix)
	require.Less(t, first, second)
	require.EqualValues(t, 8, m.last.Time())
}

func TestMessageIDMinted(t *testing.T) {
	at, ok := NewMessageID().Minted()
	require.True(t, ok)
	require.Equal(t, Now().Year(), at.Year())
	for _, id := range []MessageID{"msg_1", "job_01K8Q2W0A00000000000000001", ""} {
		_, ok := id.Minted()
		require.False(t, ok)
	}
}
