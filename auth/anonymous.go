package auth

import (
	"context"
	"errors"
)

// anonymous is the scheme `none`.
type anonymous struct{}

// Authenticate accepts only if `anonymous` was negotiated (HS-4). Each session
// is a principal of its own, so that two anonymous clients can neither watch
// nor cancel each other's jobs.
func (anonymous) Authenticate(_ context.Context, a Attempt) (Outcome, error) {
	if !a.Anonymous {
		return Outcome{}, Reject("capability anonymous was not negotiated")
	}
	if a.SessionID == "" {
		return Outcome{}, errors.New("auth: attempt carries no session id")
	}
	return Outcome{Identity: Identity{Principal: AnonymousPrefix + a.SessionID}}, nil
}
