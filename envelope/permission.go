package envelope

// PermissionRequest asks the client for a permission while the job waits
// (LE-5).
type PermissionRequest struct {
	Permission            string  `json:"permission" arcp:"!"`
	Resource              string  `json:"resource" arcp:"!"`
	Operation             string  `json:"operation" arcp:"!"`
	Reason                string  `json:"reason,omitzero"`
	RequestedLeaseSeconds *uint64 `json:"requested_lease_seconds,omitzero"`
}

// PermissionGrant grants a permission for LeaseSeconds.
type PermissionGrant struct {
	Permission   string `json:"permission" arcp:"!"`
	Resource     string `json:"resource" arcp:"!"`
	Operation    string `json:"operation" arcp:"!"`
	LeaseSeconds uint64 `json:"lease_seconds" arcp:"!"`
}

// PermissionDeny denies a permission.
type PermissionDeny struct {
	Permission string `json:"permission" arcp:"!"`
	Reason     string `json:"reason" arcp:"!"`
}

// LeaseGranted says that a grant is in force.
type LeaseGranted struct {
	LeaseID    LeaseID `json:"lease_id" arcp:"!"`
	Permission string  `json:"permission" arcp:"!"`
	Resource   string  `json:"resource" arcp:"!"`
	Operation  string  `json:"operation" arcp:"!"`
	ExpiresAt  Time    `json:"expires_at" arcp:"!"`
}

// LeaseExtended says that a grant holds longer.
type LeaseExtended struct {
	LeaseID   LeaseID `json:"lease_id" arcp:"!"`
	ExpiresAt Time    `json:"expires_at" arcp:"!"`
}

// LeaseRevoked says that a grant holds no more.
type LeaseRevoked struct {
	LeaseID LeaseID `json:"lease_id" arcp:"!"`
	Reason  string  `json:"reason" arcp:"!"`
}

// LeaseRefresh asks for more time.
type LeaseRefresh struct {
	LeaseID           LeaseID `json:"lease_id" arcp:"!"`
	AdditionalSeconds uint64  `json:"additional_seconds" arcp:"!"`
}
