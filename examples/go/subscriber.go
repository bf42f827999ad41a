// A subscriber that handles each event, and resumes where it stopped after any interruption.
//
//	go install github.com/bufbuild/buf/cmd/buf@v1.75.0
//	go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
//	go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
//	buf generate ../../proto
//	go run . 127.0.0.1:50051
//
// To change: work, the request (its filter, and where it begins the first time), and for TLS and a token, in main,
//
//	grpc.WithTransportCredentials(credentials.NewTLS(nil))
//	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	pb "github.com/verbex/verbex-gateway/gen/go/verbex/gateway/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const (
	cursorFile = "calls.cursor"
	// The gateway sends a message at least every 30 s. After 60 s without one the connection is dead, also behind a proxy.
	silence = time.Minute
)

// work must be safe to repeat, by event.Id: an event comes again if the program dies before its cursor is saved.
func work(event *pb.Event) error {
	_, err := fmt.Println(event.Sequence, event.CallId, event.EventName, event.Status)
	return err
}

// follow works off events until the stream ends. It is alive if more came than the first message, which comes at once.
func follow(ctx context.Context, client pb.EventServiceClient) (alive bool, err error) {
	request := &pb.SubscribeRequest{SubscriberName: "example"}
	switch cursor, err := os.ReadFile(cursorFile); {
	case err == nil:
		request.Start = &pb.SubscribeRequest_AfterCursor{AfterCursor: string(cursor)}
	case errors.Is(err, fs.ErrNotExist):
		request.Start = &pb.SubscribeRequest_StartPosition{StartPosition: pb.StartPosition_START_POSITION_EARLIEST}
	default:
		return false, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watchdog := time.AfterFunc(silence, cancel)
	stream, err := client.Subscribe(ctx, request)
	if err != nil {
		return false, err
	}
	for first := true; ; first = false {
		watchdog.Reset(silence)
		message, err := stream.Recv()
		watchdog.Stop() // the work may take its time
		if err != nil {
			return alive, err
		}
		if event := message.GetEvent(); event != nil {
			if err := work(event); err != nil { // first the work …
				return alive, fmt.Errorf("event %s: %w", event.Id, err)
			}
		}
		if err := save(message.Cursor); err != nil { // … then the cursor
			return alive, err
		}
		alive = !first
	}
}

func save(cursor string) error {
	if err := os.WriteFile(cursorFile+".new", []byte(cursor), 0o600); err != nil {
		return err
	}
	return os.Rename(cursorFile+".new", cursorFile)
}

// passes says whether the error passes by waiting. docs/api.md says what to do about the others.
func passes(err error) bool {
	ended, ok := status.FromError(err)
	switch ended.Code() {
	case codes.Unavailable, codes.ResourceExhausted, codes.Internal, codes.Unknown, codes.Canceled, codes.DeadlineExceeded:
		return ok
	}
	return errors.Is(err, io.EOF)
}

// delay grows from a second to half a minute, with jitter, and is never less than the gateway asks for.
func delay(failures int, err error) time.Duration {
	longest := min(time.Second<<min(failures, 5), 30*time.Second)
	wait := longest/2 + rand.N(longest/2)
	for _, detail := range status.Convert(err).Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			wait = max(wait, retry.RetryDelay.AsDuration())
		}
	}
	return wait
}

func run(ctx context.Context, client pb.EventServiceClient) error {
	for failures := 0; ; failures++ {
		alive, err := follow(ctx, client)
		if alive {
			failures = 0
		}
		if !passes(err) {
			return err
		}
		wait := delay(failures, err)
		if ctx.Err() == nil {
			log.Printf("%v; again in %v", err, wait)
		}
		select {
		case <-ctx.Done(): // a signal: the work in hand is done
			return nil
		case <-time.After(wait):
		}
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second one ends it at once
	address := "127.0.0.1:50051"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err == nil {
		err = run(ctx, pb.NewEventServiceClient(conn))
	}
	if err != nil {
		log.Fatal(err)
	}
}
