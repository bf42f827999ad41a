// The gateway as programs in Go meet it: check EXPECTED, beside a gateway (with_gateway).
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	pb "github.com/verbex/verbex-gateway/gen/go/verbex/gateway/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"
)

var samples = []string{"call_started", "call_transferred", "call_ended", "pca_completed"}

// Nanoseconds, as numbers: no float has them.
var eventTimes = map[string]int64{
	"call_started":  1777294405_241195387,
	"call_ended":    1777294601_599271364,
	"pca_completed": 1777294619_342041497,
}

type answer struct {
	ID       string `json:"id"`
	Sequence string `json:"sequence"`
}

type object = map[string]any

type stream = grpc.ServerStreamingClient[pb.SubscribeResponse]

func must[T any](value T, err error) T {
	if err != nil {
		log.Panic(err)
	}
	return value
}

func equal(what string, found, expected any) {
	if !reflect.DeepEqual(found, expected) {
		log.Panicf("%s: %v is not %v", what, found, expected)
	}
}

func parse[T any](text []byte) (value T) {
	if err := json.Unmarshal(text, &value); err != nil {
		log.Panicf("%v in %s", err, text)
	}
	return value
}

func body(sample string) string {
	return string(must(os.ReadFile(filepath.Join(os.Getenv("SAMPLES"), sample+".json"))))
}

func post(body string) answer {
	command := exec.Command("post", "-")
	command.Stdin, command.Stderr = strings.NewReader(body), os.Stderr
	return parse[answer](must(command.Output()))
}

// event is the body of an event of an agent.
func event(call, agent string) string {
	return string(must(json.Marshal(object{"eventName": "CallHandler.CallEnded", "call_id": call, "agent_id": agent})))
}

// inTime is a deadline.
func inTime(seconds time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), seconds*time.Second)
	context.AfterFunc(ctx, cancel) // no stream outlives its deadline here
	return ctx
}

// events of messages.
func events(messages []*pb.SubscribeResponse) (events []*pb.Event) {
	for _, message := range messages {
		if event := message.GetEvent(); event != nil {
			events = append(events, event)
		}
	}
	return events
}

// read reads so many events, and on to the Progress that says that nothing else came.
func read(from stream, count int) (messages []*pb.SubscribeResponse) {
	for {
		message := must(from.Recv())
		messages = append(messages, message)
		if message.GetProgress() != nil && len(events(messages)) >= count {
			return messages
		}
	}
}

// readToError reads to the error at the end.
func readToError(from stream) (messages []*pb.SubscribeResponse, ended *status.Status) {
	for {
		message, err := from.Recv()
		if err != nil {
			return messages, status.Convert(err)
		}
		messages = append(messages, message)
	}
}

// checkSamples wants a Progress first, and the samples exactly.
func checkSamples(messages []*pb.SubscribeResponse, answers []answer, expected map[string]object) {
	equal("a Progress first", messages[0].GetProgress() != nil, true)
	found := events(messages)
	equal("events", len(found), len(samples))
	for i, sample := range samples {
		event := found[i]
		printed := parse[object](must(protojson.Marshal(event)))
		equal("id", printed["id"], answers[i].ID)
		equal("sequence", printed["sequence"], answers[i].Sequence)
		received := printed["receiveTime"]
		equal("a receive time", received != nil, true)
		if _, given := expected[sample]["eventTime"]; !given {
			equal("an event without a time", printed["eventTime"], received)
			delete(printed, "eventTime")
		}
		for _, key := range []string{"id", "sequence", "receiveTime"} {
			delete(printed, key)
		}
		equal(sample, printed, expected[sample])
		if nanoseconds, given := eventTimes[sample]; given {
			equal("nanoseconds", event.EventTime.AsTime().UnixNano(), nanoseconds)
		}
	}
}

// waitFor waits until the gateway has a subscriber of that name, or has none.
func waitFor(admin pb.AdminServiceClient, name string, subscribed bool) {
	for range 200 {
		found := false
		for _, subscriber := range must(admin.ListSubscribers(inTime(20), &pb.ListSubscribersRequest{})).Subscribers {
			found = found || subscriber.Name == name
		}
		if found == subscribed {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	log.Panicf("subscribed should be %v: %s", subscribed, name)
}

func main() {
	expected := parse[map[string]object](must(os.ReadFile(os.Args[1])))
	equal("samples", len(expected), len(samples))
	filter := &pb.EventFilter{}
	for _, sample := range samples {
		filter.AgentIds = append(filter.AgentIds, expected[sample]["agentId"].(string))
	}
	request := func() *pb.SubscribeRequest {
		return &pb.SubscribeRequest{Filter: filter, ProgressInterval: durationpb.New(time.Second)}
	}
	earliest := request()
	earliest.Start = &pb.SubscribeRequest_StartPosition{StartPosition: pb.StartPosition_START_POSITION_EARLIEST}
	after := func(cursor string) *pb.SubscribeRequest {
		request := request()
		request.Start = &pb.SubscribeRequest_AfterCursor{AfterCursor: cursor}
		return request
	}

	// What the filter leaves out comes in the midst of the samples.
	var answers []answer
	for i, sample := range samples {
		if i == 2 {
			post(event("left out", "another"))
		}
		answers = append(answers, post(body(sample)))
	}

	conn := must(grpc.NewClient(os.Getenv("GRPC_ADDR"), grpc.WithTransportCredentials(insecure.NewCredentials())))
	client, admin := pb.NewEventServiceClient(conn), pb.NewAdminServiceClient(conn)

	// The samples, by filter; their bodies byte for byte.
	open := must(client.Subscribe(inTime(60), earliest))
	messages := read(open, len(samples))
	checkSamples(messages, answers, expected)
	listed := must(client.ListEvents(inTime(20), &pb.ListEventsRequest{Filter: filter, View: pb.EventView_EVENT_VIEW_RAW}))
	equal("events in EVENT_VIEW_RAW", len(listed.Events), len(samples))
	for i, event := range listed.Events {
		equal("body", string(event.RawJson), body(samples[i]))
		equal("header", event.RawHeaders["content-type"], "application/json")
	}

	// Cut off, and on from the last cursor.
	must(exec.Command("cut_off").Output())
	more, ended := readToError(open)
	equal("cut off", ended.Code(), codes.Unavailable)
	equal("events before the cut", len(events(more)), 0)
	messages = append(messages, more...)
	posted := post(event("after the cut", filter.AgentIds[0]))
	resumed := must(client.Subscribe(inTime(60), after(messages[len(messages)-1].Cursor), grpc.WaitForReady(true)))
	found := events(read(resumed, 1))
	equal("events after the cut", len(found), 1)
	equal("the event after the cut", found[0].Id, posted.ID)

	// What a refusal says.
	_, ended = readToError(must(client.Subscribe(inTime(20), after("none"))))
	equal("refused", ended.Code(), codes.InvalidArgument)
	var reasons []string
	for _, detail := range ended.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			reasons = append(reasons, info.Domain, info.Reason)
		}
	}
	equal("reason", reasons, []string{"verbex.gateway", "CURSOR_INVALID"})

	// A deadline, on a stream that has nothing more to say.
	messages, ended = readToError(must(client.Subscribe(inTime(3), earliest)))
	equal("out of time", ended.Code(), codes.DeadlineExceeded)
	equal("events in time", len(events(messages)), len(samples)+1)

	// A cancel, and the gateway forgets the subscriber.
	ctx, cancel := context.WithCancel(inTime(60))
	cancelled := request()
	cancelled.SubscriberName = "cancelled"
	open = must(client.Subscribe(ctx, cancelled))
	must(open.Recv())
	waitFor(admin, "cancelled", true)
	cancel()
	_, ended = readToError(open)
	equal("cancelled", ended.Code(), codes.Canceled)
	waitFor(admin, "cancelled", false)
}
