// Package view folds the records of one session, in log order, into the envelopes that its client receives.
//
// It is the heart of delivery and it is pure: no I/O, no clock, no goroutine. The same records give the same
// envelopes with the same numbers on every edge, which is what lets a session be resumed anywhere:
//
//   - an invocation renders as the job.accepted that was stored with it;
//   - an event of an attempt at a job is skipped once a later attempt has spoken, so a worker that was given up on
//     is no longer heard, without any fencing write;
//   - whatever is said of a job after its first terminal event is skipped;
//   - every rendered envelope that the dialect counts gets the next event_seq, from 1, without gap.
//
// Where two writers disagree (two attempts at a job, two edges holding one session), log order decides, and this
// package is the one place that says how.
package view
