"""As subscriber.py, for asyncio: it handles each event, and resumes where it stopped after any interruption.

    pip install grpcio grpcio-tools  (Python 3.11 or later)
    python -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. proto/verbex/gateway/v1/*.proto
    PYTHONPATH=. python examples/python/subscriber_asyncio.py 127.0.0.1:50051

To change: work(), the request (its filter, and where it begins the first time), and the channel for TLS and a token.
"""

import asyncio
import pathlib
import random
import signal
import sys

import grpc
from verbex.gateway.v1 import event_service_pb2 as pb, event_service_pb2_grpc as rpc

CURSOR = pathlib.Path("calls.cursor")
# Reasons that pass by waiting. docs/api.md says what to do about the others.
PASSES = {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "UNKNOWN", "CANCELLED", "DEADLINE_EXCEEDED"}
# The gateway sends a message at least every 30 s. After 60 s without one the connection is dead, also behind a proxy.
SILENCE = 60


async def work(event):
    """Must be safe to repeat, by event.id: an event comes again if the program dies before its cursor is saved."""
    print(event.sequence, event.call_id, event.event_name, event.status, flush=True)


async def take(message):
    if message.HasField("event"):
        await work(message.event)  # first the work …
    draft = CURSOR.with_suffix(".new")
    draft.write_text(message.cursor)
    draft.replace(CURSOR)  # … then the cursor


async def finish(work):
    """Waits for it, and lets a cancel wait too."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def read(stream):
    async with asyncio.timeout(SILENCE):
        return await stream.read()


async def follow(channel, request):
    """Takes each message behind the cursor, for ever. An error of the work itself ends it, with nothing skipped."""
    failures = 0
    if CURSOR.exists():
        request.after_cursor = CURSOR.read_text()
    while True:
        stream, number = rpc.EventServiceStub(channel).Subscribe(request), 0
        try:
            while (message := await read(stream)) is not grpc.aio.EOF:
                await finish(take(message))
                request.after_cursor = message.cursor
                number += 1
                if number > 1:  # the first one comes at once, and says little about the connection
                    failures = 0
        except asyncio.TimeoutError:
            print("silence; trying again", file=sys.stderr)
        except grpc.RpcError as error:
            if error.code().name not in PASSES:
                sys.exit(f"{error.code().name}: {error.details()}")
            print(f"{error.code().name}: {error.details()}; trying again", file=sys.stderr)
        finally:
            stream.cancel()
        await asyncio.sleep(random.uniform(0.5, 1) * min(30, 2**failures))
        failures += 1


async def main():
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asyncio.current_task().cancel)
    request = pb.SubscribeRequest(subscriber_name="example", start_position=pb.START_POSITION_EARLIEST)
    # With TLS and a token: grpc.aio.secure_channel(address, grpc.composite_channel_credentials(
    #     grpc.ssl_channel_credentials(), grpc.access_token_call_credentials(token)))
    async with grpc.aio.insecure_channel(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051") as channel:
        try:
            await follow(channel, request)
        except asyncio.CancelledError:
            pass  # a signal: the work in hand is done


if __name__ == "__main__":
    asyncio.run(main())
