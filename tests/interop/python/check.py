"""Posts Verbex's samples and reads them with stubs generated from the protos: every value exact, nanoseconds too.

Runs beside a gateway (with_gateway), with the stubs in PYTHONPATH.
"""

import json
import os
import pathlib
import ssl
import urllib.request

import grpc
from verbex.gateway.v1 import event_pb2, event_service_pb2, event_service_pb2_grpc

SAMPLES = ["call_started", "call_transferred", "call_ended", "pca_completed"]
TRACE = "69ef5c43425e3c729ab8c83f"
ORGANIZATION = "27117463-c11e-4c75-affd-f743216f1bef"
# type, name, trace, organisation, agent, call, status
KEYS = {
    "call_started": (
        event_pb2.EVENT_TYPE_CALL_STARTED, "CallHandler.CallStarted", TRACE, ORGANIZATION,
        "c51aa1b1-7eac-452d-8ba5-86a922d694e7", "69ef7c43425e3c729ab8c83f", "success",
    ),
    "call_transferred": (
        event_pb2.EVENT_TYPE_CALL_TRANSFERRED, "CallHandler.CallTransferred", "", "",
        "d077dc85-ee45-48cd-ac65-fd49df53cdba", "697a020fc0baee039d0013b4", "failed",
    ),
    "call_ended": (
        event_pb2.EVENT_TYPE_CALL_ENDED, "CallHandler.CallEnded", TRACE, ORGANIZATION,
        "c31ab1b1-7eac-452d-8ba5-86a922d694e7", "62ef5c43425e3c729ab8c83f", "success",
    ),
    "pca_completed": (
        event_pb2.EVENT_TYPE_PCA_COMPLETED, "callAnalysis.pcaCompleted", TRACE, ORGANIZATION,
        "c51ab1b1-7eac-452d-8ba5-86a922d694e7", "69ef5c43425e3c729ab8c83f", "success",
    ),
}
EVENT_TIMES = {
    "call_started": (1777294405, 241195387),
    "call_ended": (1777294601, 599271364),
    "pca_completed": (1777294619, 342041497),
}


def equal(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def post(body: bytes) -> dict:
    context = ssl.create_default_context(cafile=os.environ["CA"])
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(os.environ["WEBHOOK_URL"], body, headers)
    with urllib.request.urlopen(request, context=context, timeout=10) as response:
        return json.load(response)


def time(timestamp) -> tuple[int, int]:
    return timestamp.seconds, timestamp.nanos


def check(sample: str, event: event_pb2.Event, body: bytes):
    keys = (
        event.type, event.event_name, event.trace_id, event.organization_id, event.agent_id, event.call_id, event.status,
    )
    equal(keys, KEYS[sample])
    equal(time(event.event_time), EVENT_TIMES.get(sample, time(event.receive_time)))
    equal(event.WhichOneof("payload"), sample)
    equal(event.raw_json, body)
    equal(event.HasField("unmodeled_fields"), False)


def check_transfer(transfer: event_pb2.CallTransferred, body: bytes):
    sent = json.loads(body)
    equal(transfer.transfer_to, sent["transfer_to"])
    equal(transfer.caller.phone_number, sent["caller"]["phone_number"])
    summary = transfer.call_summary
    equal(summary.HasField("duration_seconds"), True)
    equal(summary.duration_seconds, 45.621591)
    for field in ["topics_discussed", "actions_taken", "unresolved_issues"]:
        equal(list(getattr(summary, field)), sent["call_summary"][field])
    for field in ["transfer_reason", "customer_sentiment"]:
        equal(getattr(summary, field), sent["call_summary"][field])
    equal([{"role": entry.role, "content": entry.content} for entry in transfer.transcript], sent["transcript"])
    equal(time(transfer.metadata.call_start_time), (1769603617, 475817000))
    equal(time(transfer.metadata.call_end_time), (1769603663, 97263000))
    equal(transfer.metadata.language, "en-US")


def main():
    bodies = {sample: pathlib.Path(os.environ["SAMPLES"], f"{sample}.json").read_bytes() for sample in SAMPLES}
    stored = [post(body) for body in bodies.values()]
    with grpc.insecure_channel(os.environ["GRPC_ADDR"]) as channel:
        stub = event_service_pb2_grpc.EventServiceStub(channel)
        request = event_service_pb2.SubscribeRequest(
            start_position=event_service_pb2.START_POSITION_EARLIEST, view=event_service_pb2.EVENT_VIEW_RAW,
        )
        events, first = [], None
        for message in stub.Subscribe(request, timeout=20):
            first = first or message
            if message.WhichOneof("response") == "event":
                events.append(message.event)
            if len(events) == len(SAMPLES):
                break
    equal(first.WhichOneof("response"), "progress")
    equal([(event.id, str(event.sequence)) for event in events], [(answer["id"], answer["sequence"]) for answer in stored])
    for (sample, body), event in zip(bodies.items(), events):
        check(sample, event, body)
    check_transfer(events[1].call_transferred, bodies["call_transferred"])
    equal(time(events[3].pca_completed.pca_time), (1777294619, 200000000))
    equal(events[3].pca_completed.reason, "success")


main()
