package auth

import (
	"context"
	"maps"
	"slices"
)

// Set holds the authenticators of a runtime, one a scheme. It does not change
// once made. A nil Set is empty: it rejects everything.
type Set struct {
	schemes  map[Scheme]Authenticator
	warnings []string
}

// NewSet makes a set of the authenticators given, for runtimes that bring
// their own. Nil authenticators are left out.
func NewSet(schemes map[Scheme]Authenticator) *Set {
	s := &Set{schemes: make(map[Scheme]Authenticator, len(schemes))}
	for scheme, a := range schemes {
		if a != nil {
			s.schemes[scheme] = a
		}
	}
	return s
}

// Lookup returns the authenticator of a scheme.
func (s *Set) Lookup(scheme Scheme) (Authenticator, bool) {
	if s == nil {
		return nil, false
	}
	a, ok := s.schemes[scheme]
	return a, ok
}

// Schemes lists the schemes that have an authenticator, sorted.
func (s *Set) Schemes() []Scheme {
	if s == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.schemes))
}

// Any reports whether there is real authentication: a scheme beside `none`.
func (s *Set) Any() bool {
	return slices.ContainsFunc(s.Schemes(), func(scheme Scheme) bool { return scheme != SchemeNone })
}

// Anonymous reports whether sessions without credentials can be accepted. A
// runtime advertises the capability `anonymous` exactly then.
func (s *Set) Anonymous() bool {
	_, ok := s.Lookup(SchemeNone)
	return ok
}

// Warnings lists what an operator should know about the configuration but
// what does not prevent a start, such as a short secret. It holds no secrets.
func (s *Set) Warnings() []string {
	if s == nil {
		return nil
	}
	return slices.Clone(s.warnings)
}

// Authenticate asks the authenticator of the attempt's scheme. Without one the
// attempt is rejected (HS-2).
func (s *Set) Authenticate(ctx context.Context, a Attempt) (Outcome, error) {
	authenticator, ok := s.Lookup(a.Scheme)
	if !ok {
		return Outcome{}, Reject("no authenticator for this scheme")
	}
	return authenticator.Authenticate(ctx, a)
}

// Verify asks the scheme that challenged, and no other, about a response. HS-5
// as first written asks bearer, then signed_jwt, whoever challenged; an answer
// must not be weighed by a scheme that never put the question.
func (s *Set) Verify(ctx context.Context, scheme Scheme, state any, response string) (Identity, error) {
	authenticator, _ := s.Lookup(scheme)
	challenger, ok := authenticator.(Challenger)
	if !ok {
		return Identity{}, ErrState
	}
	return challenger.Verify(ctx, state, response)
}
