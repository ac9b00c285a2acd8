// Package subjects names the places of the log. It is the only code that builds or reads a subject or a bucket key.
//
//	arcp.<shard>.tool.invoke.<queue>.<tool>.<feed>.<principal>.<session>.<job>
//	arcp.<shard>.event.<feed>.<principal>.<session>.<job>
//	arcp.<shard>.input.<feed>.<principal>.<session>.<job>
//
// The lane stands first, so that every reader's filter is a literal prefix or close to one: a worker reads a queue, an
// edge reads a feed. Every token is escaped (see Escape), so no name that a user or an operator picks can widen a
// filter or reach another subject.
package subjects
