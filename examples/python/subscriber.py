"""A subscriber that handles each event, and resumes where it stopped after any interruption.

    pip install grpcio grpcio-tools
    python -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. proto/verbex/gateway/v1/*.proto
    PYTHONPATH=. python examples/python/subscriber.py 127.0.0.1:50051

To change: work(), the request in main() (its filter, and where it begins the first time), and connect() for TLS and a token.
"""

import pathlib
import random
import signal
import sys
import time

import grpc
from verbex.gateway.v1 import event_service_pb2 as pb, event_service_pb2_grpc as rpc

CURSOR = pathlib.Path("calls.cursor")
# Reasons that pass by waiting. docs/api.md says what to do about the others.
PASSES = {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "UNKNOWN", "CANCELLED", "DEADLINE_EXCEEDED"}
# A blocking read has no timeout, so pings find a dead connection; grpcio sends them all, and gives up on them in time, only if
# told to. A proxy answers them in the gateway's stead: behind one, subscriber_asyncio.py is better, which misses the Progress.
PINGS = [("grpc.keepalive_time_ms", 20_000), ("grpc.http2.ping_timeout_ms", 10_000), ("grpc.http2.max_pings_without_data", 0)]


def work(event):
    """Must be safe to repeat, by event.id: an event comes again if the program dies before its cursor is saved."""
    print(event.sequence, event.call_id, event.event_name, event.status, flush=True)


class Later(Exception):
    """Raise it in take() when the work cannot be done now: after a pause the same message comes again."""


def take(message):
    if message.HasField("event"):
        work(message.event)  # first the work …
    draft = CURSOR.with_suffix(".new")
    draft.write_text(message.cursor)
    draft.replace(CURSOR)  # … then the cursor


def connect(address):
    """With TLS and a token instead:
    grpc.secure_channel(address, grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(), grpc.access_token_call_credentials(token)), PINGS)
    """
    return grpc.insecure_channel(address, PINGS)


def follow(channel, request, cursor, take):
    """Calls take(message) for each message behind the cursor, for ever. An error of take() but Later ends it, with nothing skipped."""
    stopping = taking = False

    def stop(*_):  # at once, but not between the work and the cursor
        nonlocal stopping
        stopping = True
        if not taking:
            sys.exit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    failures = 0
    while True:
        if cursor is not None:
            request.after_cursor = cursor
        stream = rpc.EventServiceStub(channel).Subscribe(request)
        try:
            for count, message in enumerate(stream):
                taking = True
                take(message)
                cursor, taking = message.cursor, False
                if stopping:
                    return
                if count > 0:  # the first one comes at once, and says little about the connection
                    failures = 0
        except Later as error:
            taking = False
            print(f"{error}; trying again", file=sys.stderr)
        except grpc.RpcError as error:
            taking = False
            if error.code().name not in PASSES:
                sys.exit(f"{error.code().name}: {error.details()}")
            print(f"{error.code().name}: {error.details()}; trying again", file=sys.stderr)
        finally:
            stream.cancel()
        if stopping:
            return
        time.sleep(random.uniform(0.5, 1) * min(30, 2**failures))
        failures += 1


def main():
    request = pb.SubscribeRequest(subscriber_name="example", start_position=pb.START_POSITION_EARLIEST)
    cursor = CURSOR.read_text() if CURSOR.exists() else None
    with connect(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051") as channel:
        follow(channel, request, cursor, take)


if __name__ == "__main__":
    main()
