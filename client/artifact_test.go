package client_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
)

func TestArtifactsInEnvelopes(t *testing.T) {
	ctx := testContext(t)
	url := newEdge(t, func(p *peer) {
		p.open("t1")
		put := p.expect(envelope.TypeArtifactPut)
		asked, err := envelope.DecodePayload[envelope.ArtifactPut](put)
		if err != nil || asked.Data != "YWJj" || *asked.RetainSeconds != 60 || len(asked.SHA256) != 64 {
			p.fail("%+v %v", asked, err)
		}
		p.say(1, put, "", envelope.TypeArtifactRef, envelope.ArtifactRefMessage{Artifact: envelope.ArtifactRef{ArtifactID: "art_1", URI: "u", MediaType: "m"}})
		p.say(2, p.expect(envelope.TypeArtifactFetch), "", envelope.TypeArtifactPut, envelope.ArtifactPut{MediaType: "m", Data: "YWJj"})
		p.say(3, p.expect(envelope.TypeArtifactFetch), "", envelope.TypeNack, envelope.Nack{Code: envelope.CodeNotFound, Message: "none"})
		p.expect(envelope.TypeArtifactRelease)
		p.closed()
	})
	s := dial(t, config(url))
	ref, err := s.PutArtifact(ctx, "m", []byte("abc"), time.Minute)
	require.NoError(t, err)
	require.EqualValues(t, "art_1", ref.ArtifactID)
	mediaType, content, err := s.FetchArtifact(ctx, "art_1")
	require.NoError(t, err)
	require.Equal(t, "m abc", mediaType+" "+string(content))
	_, _, err = s.FetchArtifact(ctx, "art_2")
	require.Equal(t, envelope.CodeNotFound, envelope.CodeOf(err))
	require.NoError(t, s.ReleaseArtifact(ctx, "art_1"))
	require.NoError(t, s.Close(ctx))
}

// What the edge serves is not always what it says.
func TestOpenArtifact(t *testing.T) {
	ctx := testContext(t)
	sum := sha256.Sum256([]byte("abc"))
	files := http.NewServeMux()
	files.HandleFunc("/artifacts/", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer t1":
			w.WriteHeader(http.StatusUnauthorized)
		case strings.HasSuffix(r.URL.Path, "art_none"):
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"code":"NOT_FOUND","message":"none"}`)
		default:
			w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, strings.TrimPrefix(r.URL.Path, "/artifacts/art_"))
		}
	})
	edge := newEdge(t, func(p *peer) {
		p.open("t1")
		p.closed()
	})
	server := httptest.NewServer(files)
	t.Cleanup(server.Close)
	s := dial(t, config(edge))
	s.SetAddress(strings.Replace(server.URL, "http", "ws", 1) + "/arcp")
	a, err := s.OpenArtifact(ctx, "art_abc")
	require.NoError(t, err)
	content, err := io.ReadAll(a)
	require.NoError(t, err)
	require.Equal(t, "text/plain abc", a.MediaType+" "+string(content))
	require.NoError(t, a.Close())
	a, err = s.OpenArtifact(ctx, "art_abd")
	require.NoError(t, err)
	_, err = io.ReadAll(a)
	require.Equal(t, envelope.CodeDataLoss, envelope.CodeOf(err), "it is not what the edge says")
	require.NoError(t, a.Close())
	_, err = s.OpenArtifact(ctx, "art_none")
	require.Equal(t, envelope.CodeNotFound, envelope.CodeOf(err))
	require.NoError(t, s.Close(ctx))
}
