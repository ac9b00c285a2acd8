// Command hello offers a tool of its own, greet. Each line in a terminal:
//
//	go run ./cmd/arcp-edge --dev
//	go run ./examples/hello
//	go run ./cmd/arcp invoke greet '{"name":"world"}'
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/worker"
	"github.com/arcp-nats/arcp/worker/natsbus"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, jetstream.Config{Name: "hello"}); err != nil {
		log.Fatal(err)
	}
}

// run serves greet until ctx ends.
func run(ctx context.Context, broker jetstream.Config) error {
	client, err := jetstream.Connect(ctx, broker) // by default nats://127.0.0.1:4222
	if err != nil {
		return err
	}
	defer client.Close()
	w, err := worker.New(natsbus.New(client), worker.Config{Name: "hello-1"})
	if err != nil {
		return err
	}
	if err := w.Handle("greet", "1", greet, worker.Options{Description: "Greets somebody."}); err != nil {
		return err
	}
	return w.Run(ctx)
}

// greet is the tool.
func greet(ctx context.Context, job *worker.Job) (any, error) {
	var args struct {
		Name string `json:"name"`
	}
	if err := job.Bind(&args); err != nil {
		return nil, err // the job fails with INVALID_ARGUMENT
	}
	if err := job.Log(ctx, envelope.LogInfo, "greeting "+args.Name, nil); err != nil {
		return nil, err
	}
	return map[string]string{"greeting": "hello, " + args.Name}, nil
}
