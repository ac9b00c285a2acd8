// Package program makes tools of programs: one process per attempt at a job.
//
// The arguments of the job come as one JSON value on standard input. Each line
// on standard output is a log event of level info, unless it is a JSON object
// with exactly one of these members:
//
//	{"progress": {"current": 3, "total": 10, "units": "files", "message": "..."}}
//	{"log": "text"}
//	{"log": {"level": "warn", "message": "text", "attributes": {...}}}
//	{"metric": {"name": "cost.search", "value": 0.25, "unit": "USD", "dims": {...}}}
//	{"status": {"phase": "indexing", "message": "...", "details": {...}}}
//	{"thought": "text"}
//	{"tool_call": {"tool": "search.web", "args": {...}, "call_id": "c1"}}
//	{"tool_result": {"call_id": "c1", "result": any}}, or with "error": {"code", "message"}
//	{"result": any}
//
// A metric cost.* in a unit that the lease has a budget of is taken off that. A
// tool_call that the lease does not allow (tool.call), or for which nothing is
// left, is told as the error of that call, and the job goes on.
//
// The last result counts. Lines on standard error are log events of level
// warn. Exit status 0 completes the job with the result, null if there was
// none; any other fails it with UNKNOWN, the status in details.exit_code and
// the last lines of standard error in details.stderr.
//
// The environment has ARCP_JOB_ID, ARCP_SESSION_ID, ARCP_ATTEMPT,
// ARCP_TRACE_ID and, if there is one, ARCP_LEASE, in JSON. Variables of the worker's own configuration (ARCP_*) are not
// passed on, since they may hold secrets.
//
// A program runs in its own process group. When the job is cancelled, its time
// is up or the worker leaves, the group gets SIGTERM and, after a grace,
// SIGKILL. Whatever the program leaves running in its group when it ends is
// killed too. A [Guard] does the same when the worker itself is killed.
package program
