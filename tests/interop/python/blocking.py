"""grpcio as most use it. Runs beside a gateway (with_gateway), with the stubs in PYTHONPATH."""

import os
import pathlib
import signal
import sys
import time

import grpc
import shared
from shared import equal
from verbex.gateway.v1 import admin_service_pb2, admin_service_pb2_grpc, event_service_pb2 as pb, event_service_pb2_grpc

sys.path.append(str(pathlib.Path(__file__).parents[3] / "examples" / "python"))
from subscriber import PINGS  # noqa: E402


def read(stream, events: int) -> list[pb.SubscribeResponse]:
    """Reads so many events, and on to the Progress that says that nothing else came."""
    messages = []
    for message in stream:
        messages.append(message)
        if message.HasField("progress") and len(shared.events_of(messages)) >= events:
            return messages
    raise AssertionError("the stream ended without an error")


def error_of(stream) -> tuple[list[pb.SubscribeResponse], grpc.RpcError]:
    """Reads to the error at the end."""
    messages = []
    try:
        for message in stream:
            messages.append(message)
    except grpc.RpcError as error:
        return messages, error
    raise AssertionError("the stream ended without an error")


def wait_for(name: str, subscribed: bool, admin):
    """Until the gateway has a subscriber of that name, or has none."""
    for _ in range(200):
        listed = admin.ListSubscribers(admin_service_pb2.ListSubscribersRequest()).subscribers
        if subscribed == (name in [subscriber.name for subscriber in listed]):
            return
        time.sleep(0.05)
    raise AssertionError(f"{name}: still {'not ' if subscribed else ''}subscribed")


def check_pings():
    """With the settings of the example, ten times as fast, a gateway that is stuck ends a stream, however idle it was before."""
    gateway = int(pathlib.Path(os.environ["FOLDER"], "pid").read_text())
    pings = [(name, value // 10) for name, value in PINGS]
    with grpc.insecure_channel(os.environ["GRPC_ADDR"], [*pings, ("grpc.use_local_subchannel_pool", 1)]) as channel:
        stream = event_service_pb2_grpc.EventServiceStub(channel).Subscribe(pb.SubscribeRequest(), timeout=29)
        next(stream)
        time.sleep(7)  # for more pings than grpcio sends by itself while it has nothing else to send
        os.kill(gateway, signal.SIGSTOP)
        try:
            _, error = error_of(stream)
        finally:
            os.kill(gateway, signal.SIGCONT)
        equal(error.code(), grpc.StatusCode.UNAVAILABLE)


def main():
    answers = shared.post_samples()
    with grpc.insecure_channel(os.environ["GRPC_ADDR"]) as channel:
        service = event_service_pb2_grpc.EventServiceStub(channel)
        admin = admin_service_pb2_grpc.AdminServiceStub(channel)

        # The samples, by filter.
        stream = service.Subscribe(shared.from_earliest(), timeout=60)
        messages = read(stream, len(answers))
        shared.check_samples(messages, answers)
        listed = service.ListEvents(pb.ListEventsRequest(filter=shared.request().filter, view=pb.EVENT_VIEW_RAW), timeout=20)
        shared.check_raw(listed.events)

        # The same by requests that are compressed, and by some that cannot be.
        listed = service.ListEvents(pb.ListEventsRequest(filter=shared.request().filter, view=pb.EVENT_VIEW_RAW), timeout=20,
                                    compression=grpc.Compression.Gzip)
        shared.check_raw(listed.events)
        try:
            service.ListEvents(pb.ListEventsRequest(), timeout=20, compression=grpc.Compression.Deflate)
            raise AssertionError("deflate is taken")
        except grpc.RpcError as error:
            equal(error.code(), grpc.StatusCode.UNIMPLEMENTED)

        # Cut off, and on from the last cursor.
        shared.cut()
        more, error = error_of(stream)
        equal(error.code(), grpc.StatusCode.UNAVAILABLE)
        equal(shared.events_of(more), [])
        posted = shared.post_event("after the cut")
        resumed = service.Subscribe(shared.request(after_cursor=[*messages, *more][-1].cursor), timeout=60, wait_for_ready=True)
        equal([event.id for event in shared.events_of(read(resumed, 1))], [posted])

        # What a refusal says.
        _, error = error_of(service.Subscribe(shared.request(after_cursor="none"), timeout=20))
        shared.check_refused_cursor(error)

        # A deadline, on a stream that has nothing more to say.
        messages, error = error_of(service.Subscribe(shared.from_earliest(), timeout=3))
        equal(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        equal(len(shared.events_of(messages)), len(answers) + 1)

        # A cancel, and the gateway forgets the subscriber.
        stream = service.Subscribe(shared.request(subscriber_name="cancelled"), timeout=60)
        next(stream)
        wait_for("cancelled", True, admin)
        stream.cancel()
        _, error = error_of(stream)
        equal(error.code(), grpc.StatusCode.CANCELLED)
        wait_for("cancelled", False, admin)
    check_pings()


main()
