package subjects

import "strconv"

// root is the prefix of every subject.
const root = "arcp."

func shardPrefix(shard int) string { return root + strconv.Itoa(shard) }

// StreamName returns the name of the shard's log stream.
func StreamName(shard int) string { return "ARCP_LOG_" + strconv.Itoa(shard) }

// StreamSubjects returns what the shard's log stream stores.
func StreamSubjects(shard int) []string { return []string{shardPrefix(shard) + ".>"} }

// QueueFilter matches the invocations for one queue: what its workers read.
func QueueFilter(shard int, queue string) string {
	return shardPrefix(shard) + ".tool.invoke." + Escape(queue) + ".>"
}

// FeedFilters match the invocations and events of one feed: what its edge reads.
func FeedFilters(shard int, feed string) []string {
	token := Escape(feed)
	return []string{
		shardPrefix(shard) + ".tool.invoke.*.*." + token + ".>",
		shardPrefix(shard) + ".event." + token + ".>",
	}
}

// SessionFilters match the invocations and events of one session: what a resume reads.
func SessionFilters(shard int, feed, principal, session string) []string {
	return Subject{Shard: shard, Feed: feed, Principal: principal, Session: session}.SessionFilters()
}

// SessionFilters match the invocations and events of the subject's session.
func (s Subject) SessionFilters() []string {
	tail := Escape(s.Feed) + "." + s.PrincipalToken() + "." + Escape(s.Session) + ".*"
	return []string{
		shardPrefix(s.Shard) + ".tool.invoke.*.*." + tail,
		shardPrefix(s.Shard) + ".event." + tail,
	}
}

// InvocationFilter matches the invocation of one job of a principal, whichever session and queue it went to. An empty
// principal stands for any, an empty job for all jobs.
func InvocationFilter(shard int, principal, job string) string {
	p, j := "*", "*"
	if principal != "" {
		p = PrincipalToken(principal)
	}
	if job != "" {
		j = Escape(job)
	}
	return shardPrefix(shard) + ".tool.invoke.*.*.*." + p + ".*." + j
}

// InputFilter matches what clients say to the running jobs of a shard.
func InputFilter(shard int) string { return shardPrefix(shard) + ".input.>" }

// ConsumerName returns the name of the durable consumer of a queue's workers.
func ConsumerName(queue string) string {
	token := escape(queue, &plainName)
	if len(token) > longestName {
		token = hashed + hash(queue)
	}
	return "queue_" + token
}

// PrincipalFilters match all that the sessions of some principals have in a shard: invocations, events, and what clients
// say. The principals are given by their tokens.
func PrincipalFilters(shard int, tokens ...string) []string {
	filters := make([]string, 0, 3*len(tokens))
	for _, token := range tokens {
		filters = append(filters, principalFilters(shard, token, ">")...)
	}
	return filters
}

// PrincipalSessionFilters match all that one session of a principal has in a shard, in any feed.
func PrincipalSessionFilters(shard int, principal, session string) []string {
	return principalFilters(shard, PrincipalToken(principal), Escape(session)+".*")
}

func principalFilters(shard int, token, tail string) []string {
	prefix, tail := shardPrefix(shard), token+"."+tail
	return []string{
		prefix + ".tool.invoke.*.*.*." + tail,
		prefix + ".event.*." + tail,
		prefix + ".input.*." + tail,
	}
}
