"""A subscriber that does something with each event and goes on where it stopped, whatever happens between.

    pip install grpcio grpcio-tools
    python -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. proto/verbex/gateway/v1/*.proto
    PYTHONPATH=. python examples/subscriber.py 127.0.0.1:50051

Change work(), the request, and where it begins the first time.
"""

import pathlib
import random
import signal
import sys
import time

import grpc
from verbex.gateway.v1 import event_service_pb2 as pb, event_service_pb2_grpc as rpc

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"
CURSOR = pathlib.Path("calls.cursor")
# What waiting mends. Anything else needs a decision: docs/api.md says which.
PASSES = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
# A dead connection ends the stream.
PINGS = [("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 10_000)]


def work(event):
    """Must be repeatable by event.id: an event comes again if the program dies between the work and the saving of its cursor."""
    print(event.sequence, event.call_id, event.event_name, event.status, flush=True)


def save(cursor):
    draft = CURSOR.with_suffix(".new")
    draft.write_text(cursor)
    draft.replace(CURSOR)


def follow(channel):
    request = pb.SubscribeRequest(subscriber_name="example")
    if CURSOR.exists():
        request.after_cursor = CURSOR.read_text()
    else:
        request.start_position = pb.START_POSITION_EARLIEST
    for message in rpc.EventServiceStub(channel).Subscribe(request):
        if message.HasField("event"):
            work(message.event)  # first the work …
        save(message.cursor)  # … then the cursor
        follow.failures = 0


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    follow.failures = 0
    with grpc.insecure_channel(ADDRESS, PINGS) as channel:
        while True:
            try:
                follow(channel)
            except grpc.RpcError as error:
                if error.code() not in PASSES:
                    raise
            time.sleep(random.uniform(0.5, 1) * min(30, 2**follow.failures))
            follow.failures += 1


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
