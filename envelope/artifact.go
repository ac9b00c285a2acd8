package envelope

// ArtifactURI is the address that this runtime gives an artifact. A reader
// takes any URI as opaque (open dialect 3.10).
func ArtifactURI(id ArtifactID) string { return "arcp://artifact/" + string(id) }

// ArtifactRef points at stored content. Size is in decoded bytes.
type ArtifactRef struct {
	ArtifactID ArtifactID `json:"artifact_id" arcp:"!"`
	URI        string     `json:"uri" arcp:"!"`
	MediaType  string     `json:"media_type" arcp:"!"`
	Size       uint64     `json:"size" arcp:"!"`
	SHA256     string     `json:"sha256,omitzero"`
	ExpiresAt  *Time      `json:"expires_at,omitzero"`
}

// ArtifactPut carries content: to the runtime to be stored, and back as the
// answer to a fetch (AR-1, AR-4). Data is standard padded base64, unchecked
// here. RetainSeconds of 0 expires at once.
type ArtifactPut struct {
	MediaType     string  `json:"media_type" arcp:"!"`
	Data          string  `json:"data" arcp:"!"`
	SHA256        string  `json:"sha256,omitzero"`
	RetainSeconds *uint64 `json:"retain_seconds,omitzero"`
}

// ArtifactFetch asks for content.
type ArtifactFetch struct {
	ArtifactID ArtifactID `json:"artifact_id" arcp:"!"`
}

// ArtifactRefMessage is the payload of artifact.ref: one artifact, nested one
// level.
type ArtifactRefMessage struct {
	Artifact ArtifactRef `json:"artifact" arcp:"!"`
}

// ArtifactRelease deletes an artifact; there is no reply (AR-5).
type ArtifactRelease struct {
	ArtifactID ArtifactID `json:"artifact_id" arcp:"!"`
}
