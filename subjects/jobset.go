package subjects

// JobSet is the jobs of a principal in one shard, or those of one of its sessions.
type JobSet struct {
	Shard     int
	Principal string // the authenticated one
	Session   string // "" for all of the principal's
}

// Filter matches the invocations of the jobs.
func (s JobSet) Filter() string {
	session := "*"
	if s.Session != "" {
		session = Escape(s.Session)
	}
	return shardPrefix(s.Shard) + ".tool.invoke.*.*.*." + PrincipalToken(s.Principal) + "." + session + ".*"
}

// Holds reports whether a subject is that of an invocation of one of the jobs: whether Filter matches it.
func (s JobSet) Holds(subject Subject) bool {
	return subject.Lane == Invoke && subject.Shard == s.Shard && subject.PrincipalToken() == PrincipalToken(s.Principal) &&
		(s.Session == "" || s.Session == subject.Session)
}
