package jetstream

import "github.com/arcp-nats/arcp/artifact"

// SetChunkSize makes an upload that has not begun use chunks of another size.
func SetChunkSize(u artifact.Upload, bytes int) { u.(*upload).size = bytes }
