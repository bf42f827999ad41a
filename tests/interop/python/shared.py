"""What the blocking check and that with asyncio share: the webhooks, the requests, and what must come."""

import json
import os
import pathlib
import subprocess

from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status
from verbex.gateway.v1 import event_pb2, event_service_pb2 as pb

EXPECTED = json.loads(pathlib.Path(__file__).parents[1].joinpath("expected.json").read_text())
BODIES = {sample: pathlib.Path(os.environ["SAMPLES"], f"{sample}.json").read_bytes() for sample in EXPECTED}
AGENTS = [event["agentId"] for event in EXPECTED.values()]
# Nanoseconds, as numbers: no float has them.
EVENT_TIMES = {
    "call_started": 1777294405_241195387,
    "call_ended": 1777294601_599271364,
    "pca_completed": 1777294619_342041497,
}


def equal(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def post(body: bytes) -> dict:
    return json.loads(subprocess.run(["post", "-"], input=body, stdout=subprocess.PIPE, check=True).stdout)


def post_event(call: str, agent: str = AGENTS[0]) -> str:
    """Posts an event of an agent; returns its id."""
    return post(json.dumps({"eventName": "CallHandler.CallEnded", "call_id": call, "agent_id": agent}).encode())["id"]


def post_samples() -> list[dict]:
    """Posts the samples, and between them what the filter leaves out; returns the answers for the samples."""
    answers = [post(BODIES[sample]) for sample in list(EXPECTED)[:2]]
    post_event("left out", agent="another")
    return answers + [post(BODIES[sample]) for sample in list(EXPECTED)[2:]]


def cut():
    subprocess.run(["cut_off"], check=True)


def request(**fields) -> pb.SubscribeRequest:
    """Asks for the events of the samples' agents, with a Progress after each second of silence."""
    return pb.SubscribeRequest(filter=pb.EventFilter(agent_ids=AGENTS), progress_interval=Duration(seconds=1), **fields)


def from_earliest(**fields) -> pb.SubscribeRequest:
    return request(start_position=pb.START_POSITION_EARLIEST, **fields)


def check_samples(messages: list[pb.SubscribeResponse], answers: list[dict]):
    """The first message is a Progress, and the events are the samples, exactly."""
    equal(messages[0].WhichOneof("response"), "progress")
    assert all(0 < len(message.cursor) <= 64 for message in messages)
    events = events_of(messages)
    equal(len(events), len(EXPECTED))
    for event, answer, (sample, expected) in zip(events, answers, EXPECTED.items()):
        printed = json_format.MessageToDict(event)
        equal((printed.pop("id"), printed.pop("sequence")), (answer["id"], answer["sequence"]))
        received = printed.pop("receiveTime")
        if "eventTime" not in expected:
            equal(printed.pop("eventTime"), received)
        equal(printed, expected)
        equal(event.WhichOneof("payload"), sample)
        equal(event.event_time.ToNanoseconds(), EVENT_TIMES.get(sample, event.receive_time.ToNanoseconds()))


def check_raw(events: list[event_pb2.Event]):
    """In EVENT_VIEW_RAW, an event has the body byte for byte."""
    equal([event.raw_json for event in events], list(BODIES.values()))
    for event in events:
        equal(event.raw_headers["content-type"], "application/json")


def check_refused_cursor(error):
    equal(error.code().name, "INVALID_ARGUMENT")
    details, info = rpc_status.from_call(error).details, ErrorInfo()
    equal([detail.Unpack(info) for detail in details if detail.Is(ErrorInfo.DESCRIPTOR)], [True])
    equal((info.reason, info.domain), ("CURSOR_INVALID", "verbex.gateway"))


def events_of(messages: list[pb.SubscribeResponse]) -> list[event_pb2.Event]:
    return [message.event for message in messages if message.HasField("event")]
