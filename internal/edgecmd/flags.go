package edgecmd

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/arcp-nats/arcp/artifact"
	"github.com/arcp-nats/arcp/auth"
	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/jetstream"
)

// Flags are the flags of arcp-edge. Each can also be given as an environment variable, ARCP_ and the flag's name.
type Flags struct {
	Listen      string   `help:"Address to take WebSocket connections on, paths /arcp and /." default:"127.0.0.1:7777"`
	Stdio       bool     `help:"Serve one session, of either dialect, on standard input and output: a message a line. Nothing is listened on, and without --nats the NATS server is in this process, its data in a folder of its own that goes with it."`
	Name        string   `help:"Name of this edge and of its feed in the log; no two edges may share it. Default: edge-1 with --dev, else made from the host's name and the port."`
	NATS        []string `name:"nats" help:"NATS servers to use, separated by commas." placeholder:"URL" env:"ARCP_NATS"`
	Dev         bool     `help:"Everything in one process: a NATS server with its data below --data, an edge, and the demo tools. Anonymous clients are let in."`
	Data        string   `help:"Folder of the NATS server of --dev." default:"./arcp-data"`
	NATSListen  string   `name:"nats-listen" help:"Address of the NATS server of --dev, for workers and edges that join." default:"127.0.0.1:4222"`
	Sync        string   `help:"When the NATS server of --dev writes to the disk itself: at an interval (a power cut may lose the last two minutes) or always, before it confirms anything (slow)." enum:"interval,always" default:"interval"`
	NoDemoTools bool     `help:"Leave the demo tools out of --dev."`

	Token         []string `group:"Who may connect" help:"A bearer token and the principal that it stands for. Repeatable. Others on the machine can see command lines: prefer --token-file." placeholder:"TOKEN=PRINCIPAL" sep:"none"`
	TokenFile     string   `group:"Who may connect" help:"File of bearer tokens: lines of 'token principal'."`
	JWTSecretFile string   `name:"jwt-secret-file" group:"Who may connect" help:"File with the HS256 secret of signed_jwt tokens."`
	JWTKeyFile    string   `name:"jwt-key-file" group:"Who may connect" help:"File with the public keys of signed_jwt tokens: PEM (RS256, ES256, EdDSA) or a JWKS."`
	JWTAudience   string   `name:"jwt-audience" group:"Who may connect" help:"Audience that a signed_jwt token must name. Required with a secret or keys."`
	JWTIssuer     string   `name:"jwt-issuer" group:"Who may connect" help:"Issuer that a signed_jwt token must name. Default: any."`
	HMACKeyFile   string   `name:"hmac-key-file" group:"Who may connect" help:"File of keys for the challenge: lines of 'keyid secret principal'. A client opens with token hmac:KEYID."`
	Anonymous     bool     `group:"Who may connect" help:"Let clients in without a token; each session is a principal of its own. On with --dev."`
	Insecure      bool     `group:"Who may connect" help:"Allow anonymous clients on an address that is not loopback."`
	AllowOrigin   []string `group:"Who may connect" help:"Origin that browsers may connect from, beside the edge's own host; * for all. Repeatable." placeholder:"ORIGIN"`

	SessionLease        time.Duration `group:"Sessions" help:"How long a session goes on before its client must prove again who it is; never longer than the token's." default:"1h"`
	ResumeWindow        time.Duration `group:"Sessions" help:"How long after the last sign of its edge a session can be resumed." default:"10m"`
	OnSessionClose      string        `group:"Sessions" help:"What session.close does to the session's jobs: cancel them, or detach, which lets them live on and the session be resumed." enum:"cancel,detach" default:"cancel"`
	AckWindow           int           `group:"Sessions" help:"How many counted envelopes a client may have before it acknowledges the first of them; 0 for no window." default:"0"`
	Extension           []string      `group:"Sessions" help:"Extension whose messages are carried between clients that propose it and their jobs, such as arcpx.acme.v1. Repeatable." placeholder:"NAME"`
	EnforceCapabilities bool          `group:"Sessions" help:"Refuse what needs a capability that was not negotiated; clients of 2.0.0 rely on its not being so."`
	IdlePing            time.Duration `group:"Sessions" help:"Silence after which a client is asked for a sign of life; after twice that the socket is closed, not the session." default:"30s"`
	HandshakeTimeout    time.Duration `group:"Sessions" help:"Time from connecting to an open session; a resume may wait for its turn as long again." default:"10s"`
	WriteTimeout        time.Duration `group:"Sessions" help:"How long a socket may take nothing of what is written to it." default:"30s"`
	DrainTimeout        time.Duration `group:"Sessions" help:"Time for an orderly stop after SIGTERM; a second signal stops at once." default:"30s"`

	MaxEnvelopeBytes           int `group:"Limits" help:"Largest envelope from a client." default:"1048576"`
	MaxSessionsPerPrincipal    int `group:"Limits" help:"Most sessions of one principal that this edge holds." default:"1000"`
	MaxSubscriptionsPerSession int `group:"Limits" help:"Most subscriptions of one session." default:"16"`
	MaxJobsPerSession          int `group:"Limits" help:"Most open jobs of one session." default:"1000"`
	MaxJobsPerPrincipal        int `group:"Limits" help:"Most open jobs of one principal in the sessions that this edge holds." default:"10000"`
	Rate                       int `group:"Limits" help:"Messages a second that a session may send, twice as many at once; what is over it is refused. 0 for any number." default:"1000"`

	MaxArtifactBytes     int64         `group:"Artifacts" help:"Largest artifact, decoded, that travels in an envelope: at most three quarters of 6 MiB, or of --max-envelope-bytes if that is more." default:"4194304"`
	ArtifactRetention    time.Duration `group:"Artifacts" help:"How long an artifact is kept for which its client does not say." default:"1h"`
	ArtifactMaxRetention time.Duration `group:"Artifacts" help:"How long an artifact is kept at most, whatever its client says." default:"24h"`
	ArtifactMaxBytes     int64         `group:"Artifacts" help:"Size at which the store of all artifacts refuses more; 0 for what the disk allows." default:"0"`
	ArtifactMemory       int64         `group:"Artifacts" help:"Bounds the envelopes over --max-envelope-bytes that this edge reads and stores at a time, in bytes." default:"67108864"`

	MaxQueue       time.Duration `group:"Jobs" help:"How long a job may wait for a worker before it fails with DEADLINE_EXCEEDED." default:"24h"`
	MaxRuntime     time.Duration `group:"Jobs" help:"How long an attempt at a job may run; and --max-queue and this together, how long a job may take." default:"24h"`
	IdempotencyTTL time.Duration `group:"Jobs" help:"How long an idempotency key is remembered." default:"24h"`
	ListScope      string        `group:"Jobs" help:"Whose jobs session.list_jobs lists: those of the principal, or of the session only." enum:"principal,session" default:"principal"`
	Codes          string        `group:"Jobs" help:"Error vocabulary sent to clients: 2.0 (what every client of 2.0.0 can read) or 1.1 (the later, finer one)." enum:"2.0,1.1" default:"2.0"`

	Retention   time.Duration `group:"Log" help:"How long the log keeps what was said." default:"72h"`
	LogMaxBytes int64         `group:"Log" help:"Size at which the log refuses more; 0 for what the disk allows." default:"0"`
	Replicas    int           `group:"Log" help:"Copies of the log and the buckets in a NATS cluster." default:"1"`
	Shards      int           `group:"Log" help:"Number of log streams." default:"1"`

	CredentialEndpoint  string        `group:"Credentials" help:"Where jobs with a lease get credentials: POST and DELETE below URL/credentials." placeholder:"URL"`
	CredentialTokenFile string        `group:"Credentials" help:"File with the bearer token for that endpoint."`
	CredentialKeyFile   string        `group:"Credentials" help:"Instead of an endpoint: file with the private key, in PEM, that signs a token for each job (EdDSA, ES256 or RS256)."`
	CredentialAudience  string        `group:"Credentials" help:"URL of the service that these tokens are for: their audience, and the endpoint that clients are told." placeholder:"URL"`
	CredentialTTL       time.Duration `name:"credential-ttl" group:"Credentials" help:"How long such a token is good; never longer than the lease." default:"15m"`
	SealKeyFile         string        `group:"Credentials" help:"File of keys that seal outstanding credentials, 32 bytes in base64 a line; the first seals, all open. The same for all edges. Default with --dev: seal.key below --data, made if it is not there."`

	AdminListen string `group:"This process" help:"Address for operators: /healthz, /readyz and /metrics, without authentication. Default: none." placeholder:"HOST:PORT"`
	AdminPprof  bool   `group:"This process" help:"Add /debug/pprof there."`

	LogFormat string `group:"This process" help:"text or json." enum:"text,json" default:"text"`
	LogLevel  string `group:"This process" help:"debug, info, warn or error." enum:"debug,info,warn,error" default:"info"`
}

// check refuses, in words, what cannot work, before anything is started.
func (f *Flags) check() error {
	switch {
	case f.Stdio && f.Dev:
		return errors.New("--stdio brings its own NATS server, unless there is --nats: leave out --dev")
	case !f.Dev && !f.Stdio && len(f.NATS) == 0:
		return errors.New("--nats is required (or --dev for a NATS server in this process)")
	case f.Dev && len(f.NATS) > 0:
		return errors.New("--dev brings its own NATS server: leave out --nats, or --dev")
	case f.Shards < 1:
		return fmt.Errorf("--shards %d: there must be at least 1", f.Shards)
	case f.Replicas < 1 || f.Replicas > 5:
		return fmt.Errorf("--replicas %d: NATS keeps 1 to 5 copies", f.Replicas)
	case f.single() && f.Replicas > 1:
		return errors.New("--replicas: --dev has one NATS server")
	case f.MaxEnvelopeBytes < 1024:
		return fmt.Errorf("--max-envelope-bytes %d: must be at least 1024", f.MaxEnvelopeBytes)
	case f.MaxJobsPerSession < 1:
		return fmt.Errorf("--max-jobs-per-session %d: must be at least 1", f.MaxJobsPerSession)
	case f.MaxSubscriptionsPerSession < 1:
		return fmt.Errorf("--max-subscriptions-per-session %d: must be at least 1", f.MaxSubscriptionsPerSession)
	case f.MaxSessionsPerPrincipal < 1:
		return fmt.Errorf("--max-sessions-per-principal %d: must be at least 1", f.MaxSessionsPerPrincipal)
	case f.MaxJobsPerPrincipal < 1:
		return fmt.Errorf("--max-jobs-per-principal %d: must be at least 1", f.MaxJobsPerPrincipal)
	case f.Rate < 0:
		return fmt.Errorf("--rate %d: must not be negative", f.Rate)
	case f.AdminPprof && f.AdminListen == "":
		return errors.New("--admin-pprof: there is no --admin-listen to add it to")
	case f.AckWindow < 0:
		return fmt.Errorf("--ack-window %d: must not be negative", f.AckWindow)
	case f.LogMaxBytes < 0:
		return fmt.Errorf("--log-max-bytes %d: must not be negative", f.LogMaxBytes)
	case f.ArtifactMaxBytes < 0:
		return fmt.Errorf("--artifact-max-bytes %d: must not be negative", f.ArtifactMaxBytes)
	case strings.ContainsAny(f.Name, " \t\n"):
		return fmt.Errorf("--name %q: must not contain spaces", f.Name)
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"--session-lease", f.SessionLease}, {"--resume-window", f.ResumeWindow}, {"--idle-ping", f.IdlePing},
		{"--handshake-timeout", f.HandshakeTimeout}, {"--write-timeout", f.WriteTimeout},
		{"--drain-timeout", f.DrainTimeout}, {"--max-queue", f.MaxQueue}, {"--max-runtime", f.MaxRuntime}, {"--idempotency-ttl", f.IdempotencyTTL}, {"--retention", f.Retention},
		{"--artifact-retention", f.ArtifactRetention}, {"--artifact-max-retention", f.ArtifactMaxRetention},
	} {
		if d.value <= 0 {
			return fmt.Errorf("%s %s: must be above 0", d.flag, d.value)
		}
	}
	if f.MaxQueue+f.MaxRuntime >= f.Retention {
		return fmt.Errorf("--max-queue %s and --max-runtime %s together must be less than --retention %s: "+
			"a job must have ended before the log forgets it", f.MaxQueue, f.MaxRuntime, f.Retention)
	}
	if err := f.checkArtifacts(); err != nil {
		return err
	}
	return f.checkExposure()
}

// checkArtifacts refuses limits that no envelope can keep.
func (f *Flags) checkArtifacts() error {
	largest := envelope.LargestMaxBytes(envelope.Limits{MaxBytes: f.MaxEnvelopeBytes})
	switch most := artifact.MaxInline(largest); {
	case f.MaxArtifactBytes < 1 || f.MaxArtifactBytes > most:
		return fmt.Errorf("--max-artifact-bytes %d: must be from 1 to %d, as an envelope has at most %d bytes", f.MaxArtifactBytes, most, largest)
	case f.MaxEnvelopeBytes < largest && f.ArtifactMemory < int64(largest):
		return fmt.Errorf("--artifact-memory %d: must have room for one envelope of %d bytes", f.ArtifactMemory, largest)
	case f.ArtifactRetention > f.ArtifactMaxRetention:
		return fmt.Errorf("--artifact-retention %s: must not be above --artifact-max-retention %s", f.ArtifactRetention, f.ArtifactMaxRetention)
	}
	return nil
}

// checkExposure refuses to open a runtime to a network without anybody having to say who he is.
func (f *Flags) checkExposure() error {
	host, _, err := net.SplitHostPort(f.Listen)
	if err != nil {
		return fmt.Errorf("--listen %q: %w", f.Listen, err)
	}
	if !f.anonymous() || f.Insecure || isLoopback(host) {
		return nil
	}
	return fmt.Errorf("--listen %s is not loopback, and anonymous clients would be let in: "+
		"configure authentication, listen on 127.0.0.1, or force it with --insecure", f.Listen)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func (f *Flags) anonymous() bool { return f.Dev || f.alone() || f.Anonymous }

// alone reports whether nobody but the holder of standard input and output can reach this process.
func (f *Flags) alone() bool { return f.Stdio && len(f.NATS) == 0 }

// single reports whether the NATS server is in this process.
func (f *Flags) single() bool { return f.Dev || f.alone() }

// auth loads the authenticators.
func (f *Flags) auth() (*auth.Set, error) {
	set, err := auth.Config{
		Tokens: f.Token, TokenFile: f.TokenFile,
		JWTSecretFile: f.JWTSecretFile, JWTKeyFile: f.JWTKeyFile, JWTAudience: f.JWTAudience, JWTIssuer: f.JWTIssuer,
		HMACKeyFile: f.HMACKeyFile, Anonymous: f.anonymous(),
	}.Load()
	if err != nil {
		return nil, err
	}
	if len(set.Schemes()) == 0 {
		return nil, errors.New("nobody could connect: give --token-file, --jwt-key-file, --hmac-key-file or another way to authenticate, or --anonymous")
	}
	return set, nil
}

// topology is what the log and the buckets look like.
func (f *Flags) topology() jetstream.Topology {
	return jetstream.Topology{
		Shards: f.Shards, Replicas: f.Replicas, Retention: f.Retention, MaxBytes: f.LogMaxBytes,
		ResumeWindow: f.ResumeWindow, IdempotencyTTL: f.IdempotencyTTL,
		ArtifactMaxBytes: f.ArtifactMaxBytes,
	}
}

// name returns the edge's name, given the address that it listens on.
func (f *Flags) name(addr net.Addr) string {
	switch {
	case f.Name != "":
		return f.Name
	case f.Dev:
		return "edge-1"
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	if f.Stdio {
		return "edge-" + host + "-stdio-" + strconv.Itoa(os.Getpid())
	}
	_, port, _ := net.SplitHostPort(addr.String())
	return "edge-" + host + "-" + port
}

// scheduleMargin is what a scheduled job that uses up all its times leaves of the retention, so that its end is written
// before its invocation is forgotten.
const scheduleMargin = 10 * time.Minute

// maxSchedule is how far off the start of a job may be: what its waiting and running leave of the retention.
func (f *Flags) maxSchedule() time.Duration {
	left := f.Retention - f.MaxQueue - f.MaxRuntime
	return max(left-min(scheduleMargin, left/10), time.Nanosecond)
}

// edge is the server's configuration.
func (f *Flags) edge(name string) edge.Config {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(name))
	return edge.Config{
		Name: name, Shard: int(hash.Sum32() % uint32(f.Shards)),
		Codes: envelope.Vocabulary(f.Codes), MaxEnvelopeBytes: f.MaxEnvelopeBytes,
		SessionLease: f.SessionLease, ResumeWindow: f.ResumeWindow, HandshakeTimeout: f.HandshakeTimeout,
		WriteTimeout: f.WriteTimeout, IdlePing: f.IdlePing, DrainTimeout: f.DrainTimeout,
		MaxQueue: f.MaxQueue, MaxRuntime: f.MaxRuntime, MaxSchedule: f.maxSchedule(), OnSessionClose: edge.CloseAction(f.OnSessionClose),
		ListScope: edge.ListScope(f.ListScope), EnforceCapabilities: f.EnforceCapabilities, Extensions: f.Extension,
		AckWindow: f.AckWindow, AllowOrigins: f.AllowOrigin,
		MaxSessionsPerPrincipal: f.MaxSessionsPerPrincipal, MaxJobsPerSession: f.MaxJobsPerSession,
		MaxSubscriptions:    f.MaxSubscriptionsPerSession,
		MaxJobsPerPrincipal: f.MaxJobsPerPrincipal, Rate: f.Rate,
		MaxArtifactBytes: f.MaxArtifactBytes, ArtifactMemory: f.ArtifactMemory,
		ArtifactRetention: f.ArtifactRetention, MaxArtifactRetention: f.ArtifactMaxRetention,
	}
}
