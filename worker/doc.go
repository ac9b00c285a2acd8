// Package worker runs tools. A [Worker] takes accepted jobs from the log,
// calls the handler registered for each job's tool, and writes what the
// handler says back to the log, where the job's session sees it.
//
//	w, err := worker.New(bus, worker.Config{Name: "worker-1"})
//	...
//	err = w.Handle("greet", "1", func(ctx context.Context, job *worker.Job) (any, error) {
//		var args struct{ Name string `json:"name"` }
//		if err := job.Bind(&args); err != nil {
//			return nil, err
//		}
//		return "hello " + args.Name, nil
//	}, worker.Options{})
//	...
//	err = w.Run(ctx)
//
// What a handler returns ends the job: a value as job.completed, an error as
// job.failed with the error's code, a cancelled error as job.cancelled (open
// dialect JB-3). A worker that dies ends nothing: its jobs are handed to
// another worker as the next attempt, up to the tool's limit.
//
// Three contexts keep a stop orderly. Fetching ends first, when Run's context
// does. Working ends when the running jobs are done or the drain timeout has
// passed; what still runs then is handed back to the queue. Recording ends
// last, so that what was done is also written down.
//
// The package knows the log only as a [Bus]; it imports neither NATS nor the
// edge.
package worker
