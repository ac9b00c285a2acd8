package jetstream_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/artifact"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/jetstream/embedded"
)

// chunk is the most of an object in one message.
const chunk = 128 << 10

func described(principal string, keep time.Duration) artifact.Info {
	return artifact.Info{
		ID: envelope.NewArtifactID(), Principal: principal, MediaType: "text/plain", ExpiresAt: artifact.Until(time.Now(), keep),
	}
}

func random(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	return data
}

func keep(t testing.TB, store artifact.Store, info artifact.Info, data []byte) artifact.Info {
	t.Helper()
	upload, err := store.Create(patient(t), info)
	require.NoError(t, err)
	_, err = upload.Write(data)
	require.NoError(t, err)
	stored, err := upload.Commit()
	require.NoError(t, err)
	return stored
}

func TestArtifactsComeBackAsTheyWere(t *testing.T) {
	store := client(t).Artifacts()
	for _, size := range []int{0, 1, chunk - 1, chunk, chunk + 1, 7*chunk + 5} {
		data := random(size)
		sum := sha256.Sum256(data)
		info := described("ann", time.Hour)
		stored := keep(t, store, info, data)
		info.Size, info.SHA256 = int64(size), hex.EncodeToString(sum[:])
		require.Equal(t, info, stored)

		object, err := store.Open(patient(t), "ann", info.ID)
		require.NoError(t, err)
		require.Equal(t, info, object.Info())
		require.NoError(t, iotest.TestReader(object, data), "%d bytes", size)
	}
}

// TestArtifactsAreReadFromAnywhere: also those with more parts than their description can list.
func TestArtifactsAreReadFromAnywhere(t *testing.T) {
	store := client(t).Artifacts()
	const parts = 2500
	info := described("ann", time.Hour)
	upload, err := store.Create(patient(t), info)
	require.NoError(t, err)
	part := func(i int) []byte { return bytes.Repeat([]byte(fmt.Sprintf("%07d,", i)), 64) }
	// Parts that are small here stand for those of a large object: what is tested is how they are found.
	jetstream.SetChunkSize(upload, 512)
	for i := range parts {
		_, err := upload.Write(part(i))
		require.NoError(t, err)
	}
	_, err = upload.Commit()
	require.NoError(t, err)
	object, err := store.Open(patient(t), "ann", info.ID)
	require.NoError(t, err)
	for _, i := range []int{0, 2499, 1, 2, 3, 1023, 1024, 1025, 7, 2000, 2001, 2048} {
		_, err := object.Seek(int64(i*512), io.SeekStart)
		require.NoError(t, err)
		got := make([]byte, 512)
		_, err = io.ReadFull(object, got)
		require.NoError(t, err)
		require.Equal(t, string(part(i)), string(got), "part %d", i)
	}
}

// TestAR6ArtifactsAreOfTheirPrincipal: to another one they are not there, though it knows the id.
func TestAR6ArtifactsAreOfTheirPrincipal(t *testing.T) {
	store := client(t).Artifacts()
	info := keep(t, store, described("ann", time.Hour), []byte("secret"))
	for _, other := range []string{"bob", "", "ann.", "an", "ann/" + string(info.ID)} {
		_, err := store.Open(patient(t), other, info.ID)
		requireCode(t, envelope.CodeNotFound, err)
		require.NoError(t, store.Remove(patient(t), other, info.ID))
	}
	// The same id of two principals names two artifacts.
	twin := info
	twin.Principal = "bob"
	keep(t, store, twin, []byte("another"))
	object, err := store.Open(patient(t), "ann", info.ID)
	require.NoError(t, err)
	data, err := io.ReadAll(object)
	require.NoError(t, err)
	require.Equal(t, "secret", string(data))
}

func TestArtifactIDsThatCannotBe(t *testing.T) {
	store := client(t).Artifacts()
	for _, id := range []string{"", "art_", "art_>", "art_*", "art_a.b", "art_ ", "art_\n", "job_1", "art_" + string(make([]byte, 1000)), "art_ä", "art_a/b"} {
		_, err := store.Open(patient(t), "ann", envelope.ArtifactID(id))
		requireCode(t, envelope.CodeNotFound, err)
	}
}

func TestReleasedArtifactsLeaveNothing(t *testing.T) {
	srv := natstest.Start(t)
	store := natstest.Client(t, srv).Artifacts()
	info := keep(t, store, described("ann", time.Hour), random(3*chunk))
	object, err := store.Open(patient(t), "ann", info.ID)
	require.NoError(t, err)
	_, err = io.ReadFull(object, make([]byte, 10))
	require.NoError(t, err)

	require.NoError(t, store.Remove(patient(t), "ann", info.ID))
	require.NoError(t, store.Remove(patient(t), "ann", info.ID), "again")
	_, err = store.Open(patient(t), "ann", info.ID)
	requireCode(t, envelope.CodeNotFound, err)
	_, err = io.ReadAll(object)
	requireCode(t, envelope.CodeNotFound, err)
	requireEmptyStore(t, srv)
}

// TestAR7ExpiredArtifactsAreSwept: the description says at once that it is over, and the broker takes the bytes away, also
// those of an upload that was never finished.
func TestAR7ExpiredArtifactsAreSwept(t *testing.T) {
	srv := natstest.Start(t)
	store := natstest.Client(t, srv).Artifacts()
	info := keep(t, store, described("ann", time.Second), random(3*chunk))
	abandoned, err := store.Create(patient(t), described("ann", 2*time.Second))
	require.NoError(t, err)
	_, err = abandoned.Write(random(2 * chunk))
	require.NoError(t, err)

	_, err = store.Open(patient(t), "ann", info.ID)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return info.Expired(time.Now()) }, patience, time.Millisecond)
	_, err = store.Open(patient(t), "ann", info.ID)
	requireCode(t, envelope.CodeNotFound, err)
	requireEmptyStore(t, srv)
	_, err = abandoned.Write(random(chunk))
	requireCode(t, envelope.CodeDeadlineExceeded, err)
}

func TestAbortedUploadsLeaveNothing(t *testing.T) {
	srv := natstest.Start(t)
	store := natstest.Client(t, srv).Artifacts()
	info := described("ann", time.Hour)
	upload, err := store.Create(patient(t), info)
	require.NoError(t, err)
	_, err = upload.Write(random(2 * chunk))
	require.NoError(t, err)
	upload.Abort()
	_, err = upload.Commit()
	requireCode(t, envelope.CodeCancelled, err)
	_, err = store.Open(patient(t), "ann", info.ID)
	requireCode(t, envelope.CodeNotFound, err)
	requireEmptyStore(t, srv)
}

// TestUploadsOutliveTheBroker: one that is away is waited for.
func TestUploadsOutliveTheBroker(t *testing.T) {
	b := newBroker(t)
	store := b.client(jetstream.Config{}).Artifacts()
	data := random(6 * chunk)
	info := described("ann", time.Hour)
	upload, err := store.Create(patient(t), info)
	require.NoError(t, err)
	_, err = upload.Write(data[:2*chunk])
	require.NoError(t, err)
	b.restart()
	_, err = upload.Write(data[2*chunk:])
	require.NoError(t, err)
	_, err = upload.Commit()
	require.NoError(t, err)
	b.restart()
	require.Eventually(t, func() bool {
		object, err := store.Open(patient(t), "ann", info.ID)
		if err != nil {
			return false
		}
		got, err := io.ReadAll(object)
		return err == nil && bytes.Equal(data, got)
	}, patience, 10*time.Millisecond)
}

func TestAFullStoreRefuses(t *testing.T) {
	srv := natstest.Start(t)
	c := natstest.Connect(t, jetstream.Config{InProcess: srv.InProcess()})
	natstest.Ensure(t, c, jetstream.Topology{ArtifactMaxBytes: 300 << 10})
	upload, err := c.Artifacts().Create(patient(t), described("ann", time.Hour))
	require.NoError(t, err)
	_, err = upload.Write(random(5 * chunk))
	requireCode(t, envelope.CodeResourceExhausted, err)
	upload.Abort()
	requireEmptyStore(t, srv)
}

// TestOtherClientsCanReadTheStore: the layout is the one that the nats command knows.
func TestOtherClientsCanReadTheStore(t *testing.T) {
	srv := natstest.Start(t)
	store := natstest.Client(t, srv).Artifacts()
	data := random(2*chunk + 1)
	keep(t, store, described("ann", time.Hour), data)
	objects, err := upstream(t, srv).ObjectStore(patient(t), jetstream.BucketArtifacts)
	require.NoError(t, err)
	infos, err := objects.List(patient(t))
	require.NoError(t, err)
	require.Len(t, infos, 1)
	got, err := objects.GetBytes(patient(t), infos[0].Name)
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, got))
}

// requireEmptyStore waits until nothing of any artifact is kept.
func requireEmptyStore(t testing.TB, srv *embedded.Server) {
	t.Helper()
	js := upstream(t, srv)
	require.Eventually(t, func() bool {
		stream, err := js.Stream(patient(t), "OBJ_"+jetstream.BucketArtifacts)
		return err == nil && stream.CachedInfo().State.Msgs == 0
	}, patience, 20*time.Millisecond)
}
