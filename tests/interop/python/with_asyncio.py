"""grpcio with asyncio: as blocking.py. Runs beside a gateway (with_gateway), with the stubs in PYTHONPATH."""

import asyncio
import os

import grpc
import shared
from shared import equal
from verbex.gateway.v1 import admin_service_pb2, admin_service_pb2_grpc, event_service_pb2 as pb, event_service_pb2_grpc


async def read(stream, events: int) -> list[pb.SubscribeResponse]:
    """Reads so many events, and on to the Progress that says that nothing else came."""
    messages = []
    async for message in stream:
        messages.append(message)
        if message.HasField("progress") and len(shared.events_of(messages)) >= events:
            return messages
    raise AssertionError("the stream ended without an error")


async def error_of(stream) -> tuple[list[pb.SubscribeResponse], grpc.aio.AioRpcError]:
    """Reads to the error at the end."""
    messages = []
    try:
        async for message in stream:
            messages.append(message)
    except grpc.aio.AioRpcError as error:
        return messages, error
    raise AssertionError("the stream ended without an error")


async def wait_for(name: str, subscribed: bool, admin):
    """Until the gateway has a subscriber of that name, or has none."""
    for _ in range(200):
        listed = (await admin.ListSubscribers(admin_service_pb2.ListSubscribersRequest())).subscribers
        if subscribed == (name in [subscriber.name for subscriber in listed]):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{name}: still {'not ' if subscribed else ''}subscribed")


async def main():
    answers = shared.post_samples()
    async with grpc.aio.insecure_channel(os.environ["GRPC_ADDR"]) as channel:
        service = event_service_pb2_grpc.EventServiceStub(channel)
        admin = admin_service_pb2_grpc.AdminServiceStub(channel)

        # The samples, by filter.
        stream = service.Subscribe(shared.from_earliest(), timeout=60)
        messages = await read(stream, len(answers))
        shared.check_samples(messages, answers)
        request = pb.ListEventsRequest(filter=shared.request().filter, view=pb.EVENT_VIEW_RAW)
        shared.check_raw((await service.ListEvents(request, timeout=20)).events)

        # Cut off, and on from the last cursor.
        shared.cut()
        more, error = await error_of(stream)
        equal(error.code(), grpc.StatusCode.UNAVAILABLE)
        equal(shared.events_of(more), [])
        posted = shared.post_event("after the cut")
        resumed = service.Subscribe(shared.request(after_cursor=[*messages, *more][-1].cursor), timeout=60, wait_for_ready=True)
        equal([event.id for event in shared.events_of(await read(resumed, 1))], [posted])

        # What a refusal says.
        _, error = await error_of(service.Subscribe(shared.request(after_cursor="none"), timeout=20))
        shared.check_refused_cursor(error)

        # A deadline, on a stream that has nothing more to say.
        messages, error = await error_of(service.Subscribe(shared.from_earliest(), timeout=3))
        equal(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        equal(len(shared.events_of(messages)), len(answers) + 1)

        # A cancel, and the gateway forgets the subscriber.
        stream = service.Subscribe(shared.request(subscriber_name="cancelled"), timeout=60)
        await stream.read()
        await wait_for("cancelled", True, admin)
        stream.cancel()
        equal(await stream.code(), grpc.StatusCode.CANCELLED)
        await wait_for("cancelled", False, admin)


asyncio.run(main())
