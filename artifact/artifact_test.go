package artifact_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/artifact"
	"github.com/arcp-nats/arcp/envelope"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func requireInvalid(t require.TestingT, err error, says string) {
	require.Equal(t, envelope.CodeInvalidArgument, envelope.CodeOf(err))
	require.ErrorContains(t, err, says)
}

// TestAR1ContentIsWhatWasEncoded, whatever it is, up to exactly the limit; one byte more names the limit.
func TestAR1ContentIsWhatWasEncoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.OneOf(
			rapid.SliceOfN(rapid.Byte(), 0, 40),
			rapid.Map(rapid.IntRange(24<<10-3, 48<<10+3), func(n int) []byte { return bytes.Repeat([]byte{0xA5}, n) }),
		).Draw(t, "data")
		text := base64.StdEncoding.EncodeToString(data)
		sum := sha256.Sum256(data)
		name := hex.EncodeToString(sum[:])
		for _, want := range []string{"", name, strings.ToUpper(name)} {
			c, err := artifact.ParseContent(text, want, int64(len(data)))
			require.NoError(t, err)
			require.Equal(t, int64(len(data)), c.Size())
			require.Equal(t, name, c.SHA256())
			got, err := io.ReadAll(c.Reader())
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, got))
		}
		if len(data) > 0 {
			_, err := artifact.ParseContent(text, "", int64(len(data)-1))
			requireInvalid(t, err, "the limit is ")
		}
	})
}

// TestAR1Base64IsStrict: what a lax decoder lets through is refused.
func TestAR1Base64IsStrict(t *testing.T) {
	for name, text := range map[string]string{
		"no padding":       "aGVsbG8",
		"line break":       "aGVs\nbG8=",
		"trailing break":   "aGVsbG8=\n",
		"carriage return":  "aGV\rsbG8=aaa",
		"url alphabet":     "-_-_",
		"padding inside":   "aGVsbG8=aGVsbG8=",
		"only padding":     "====",
		"three paddings":   "a===",
		"unused bits":      "aGVsbG9=",
		"space":            "aGVs bG8",
		"not ascii":        "ääää",
		"break at the end": "aGVsbG8\n",
		"padding early":    strings.Repeat("AAAA", 8192) + "AA==" + "AAAA",
	} {
		_, err := artifact.ParseContent(text, "", 1<<20)
		require.Error(t, err, name)
		requireInvalid(t, err, "data: not standard base64 with padding")
	}
	for _, text := range []string{"", "aGVsbG8=", "aGVsbA==", "aGVs"} {
		_, err := artifact.ParseContent(text, "", 1<<20)
		require.NoError(t, err, text)
	}
}

// TestAR3TheHashIsVerified and names its member.
func TestAR3TheHashIsVerified(t *testing.T) {
	for _, wrong := range []string{"x", strings.Repeat("0", 64), "2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9825"} {
		_, err := artifact.ParseContent("aGVsbG8=", wrong, 100)
		requireInvalid(t, err, "sha256")
	}
}

func FuzzParseContent(f *testing.F) {
	f.Add("aGVsbG8=", "", int64(5))
	f.Add("aGVs\nbG8=", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", int64(4))
	f.Fuzz(func(t *testing.T, text, sum string, limit int64) {
		c, err := artifact.ParseContent(text, sum, limit)
		if err != nil {
			require.Equal(t, envelope.CodeInvalidArgument, envelope.CodeOf(err))
			return
		}
		data, err := io.ReadAll(c.Reader())
		require.NoError(t, err)
		require.Equal(t, c.Size(), int64(len(data)))
		require.LessOrEqual(t, c.Size(), limit)
		require.Equal(t, text, base64.StdEncoding.EncodeToString(data), "there is one spelling")
	})
}

func TestReferences(t *testing.T) {
	for _, ref := range []string{"art_1", "arcp://artifact/art_1", "arcp://session/sess_1/artifact/art_1"} {
		id, err := artifact.ParseRef(ref)
		require.NoError(t, err, ref)
		require.Equal(t, envelope.ArtifactID("art_1"), id)
	}
	id := envelope.NewArtifactID()
	got, err := artifact.ParseRef(envelope.ArtifactURI(id))
	require.NoError(t, err)
	require.Equal(t, id, got)
	for _, ref := range []string{
		"", "art_", "job_1", "arcp://art_1", "arcp://artifact/", "arcp://artifact/art_1/x", "arcp://session/art_1", "http://artifact/art_1",
		"arcp://artifact/../art_1", "art_a b", "art_\x00", "art_" + strings.Repeat("x", artifact.MaxIDBytes),
	} {
		_, err := artifact.ParseRef(ref)
		require.Error(t, err, ref)
		require.Equal(t, envelope.CodeInvalidArgument, envelope.CodeOf(err))
	}
}

func FuzzParseRef(f *testing.F) {
	for _, seed := range []string{"art_1", "arcp://artifact/art_1", "arcp://session/s/artifact/art_1", "arcp://artifact/art_1?x", "art_%2e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		id, err := artifact.ParseRef(ref)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(id), artifact.MaxIDBytes)
		require.True(t, strings.HasSuffix(ref, string(id)))
		require.NotContains(t, string(id), "/")
		again, err := artifact.ParseRef(envelope.ArtifactURI(id))
		require.NoError(t, err)
		require.Equal(t, id, again)
	})
}

// TestAR7RetentionIsCapped, whatever is asked for; 0 is no time at all (AR-2).
func TestAR7RetentionIsCapped(t *testing.T) {
	r := artifact.Retention{Default: time.Hour, Max: 24 * time.Hour}
	seconds := func(n uint64) *uint64 { return &n }
	require.Equal(t, time.Hour, r.Of(nil))
	require.Equal(t, time.Duration(0), r.Of(seconds(0)))
	require.Equal(t, 10*time.Minute, r.Of(seconds(600)))
	require.Equal(t, 24*time.Hour, r.Of(seconds(86400)))
	require.Equal(t, 24*time.Hour, r.Of(seconds(86401)))
	require.Equal(t, 24*time.Hour, r.Of(seconds(math.MaxUint64)))
	require.Equal(t, time.Minute, artifact.Retention{Default: time.Hour, Max: time.Minute}.Of(nil))
	require.Equal(t, &envelope.ArtifactRetention{DefaultSeconds: 3600, MaxSeconds: 86400}, r.Capability())
}

func TestMediaTypes(t *testing.T) {
	for _, good := range []string{"", "text/plain", "text/plain; charset=utf-8", "whatever it is", strings.Repeat("x", artifact.MaxMediaTypeBytes)} {
		require.NoError(t, artifact.CheckMediaType(good))
	}
	for _, bad := range []string{"a\r\nSet-Cookie: x", "\x00", "\xff", strings.Repeat("x", artifact.MaxMediaTypeBytes+1)} {
		requireInvalid(t, artifact.CheckMediaType(bad), "media_type")
	}
}

func TestMaxInline(t *testing.T) {
	require.Greater(t, artifact.MaxInline(6<<20), int64(4<<20), "what a catalogue row carries has room for the default limit")
	require.Zero(t, artifact.MaxInline(1000))
	limit := artifact.MaxInline(1 << 20)
	require.LessOrEqual(t, base64.StdEncoding.EncodedLen(int(limit))+(60<<10), 1<<20)
}
