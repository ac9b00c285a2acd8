// Package program makes tools of programs: one process per attempt at a job.
//
// The arguments of the job come as one JSON value on standard input. Each line
// on standard output is a log event of level info, unless it is a JSON object
// with exactly one of these members:
//
//	{"progress": {"current": 3, "total": 10, "units": "files", "message": "..."}}
//	{"log": "text"}
//	{"log": {"level": "warn", "message": "text", "attributes": {...}}}
//	{"result": any}
//
// The last result counts. Lines on standard error are log events of level
// warn. Exit status 0 completes the job with the result, null if there was
// none; any other fails it with UNKNOWN, the status in details.exit_code and
// the last lines of standard error in details.stderr.
//
// The environment has ARCP_JOB_ID, ARCP_SESSION_ID, ARCP_ATTEMPT and
// ARCP_TRACE_ID. Variables of the worker's own configuration (ARCP_*) are not
// passed on, since they may hold secrets.
//
// A program runs in its own process group. When the job is cancelled, its time
// is up or the worker leaves, the group gets SIGTERM and, after a grace,
// SIGKILL. Whatever the program leaves running in its group when it ends is
// killed too. A [Guard] does the same when the worker itself is killed.
package program
