// Package chaos breaks a cluster of real processes, by a schedule that a seed decides, while clients work with it, and
// then judges from what the clients received and what the log holds whether every promise was kept.
//
// [Schedule] says what is broken and when. A [Cluster] is the processes and the connections between them, and carries
// the faults out. Clients note what they send and receive in an [Evidence]. [Check] judges it; it is pure, so that it
// can be tested with evidence of every kind of failure. [Run] puts them together.
package chaos
