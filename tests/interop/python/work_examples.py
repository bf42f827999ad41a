"""The examples that do real work, run as a user would: killed, cut off and ended in the midst of many events."""

import http.server
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.parse

import grpc
import shared
from shared import equal
from verbex.gateway.v1 import event_service_pb2 as pb, event_service_pb2_grpc

EXAMPLES = pathlib.Path(__file__).parents[3] / "examples" / "python"


def start(example: str, database: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, str(EXAMPLES / example), os.environ["GRPC_ADDR"], database])


def rows(database: str, query: str) -> list[tuple]:
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            return connection.execute(query).fetchall()
    except sqlite3.OperationalError:
        return []  # not there yet


def wait_for(database: str, query: str, enough):
    for _ in range(600):
        if enough(found := rows(database, query)):
            return
        time.sleep(0.05)
    raise AssertionError(f"{query}: {found}")


def end(program: subprocess.Popen):
    program.send_signal(signal.SIGTERM)
    equal(program.wait(timeout=20), 0)


def simulate(seed: int) -> subprocess.Popen:
    command = [os.environ["GATEWAY"], "simulate", "--url", os.environ["WEBHOOK_URL"], "--ca", os.environ["CA"]]
    calls = ["--calls", "60", "--rate", "20", "--speed", "1000", "--seed", str(seed), "--duplicates"]
    return subprocess.Popen([*command, *calls], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def logged(service) -> list[str]:
    """The ids of all events that the gateway has."""
    request, ids = pb.ListEventsRequest(page_size=1000), []
    while True:
        page = service.ListEvents(request, timeout=20)
        ids += [event.id for event in page.events]
        if not page.next_page_token:
            return sorted(ids)
        request.page_token = page.next_page_token


def check_warehouse(database: str, service):
    """Each event has its row, whatever happened to the program and the gateway."""
    program, simulation = start("warehouse.py", database), simulate(1)
    wait_for(database, "SELECT count(*) FROM events", lambda found: found and found[0][0] > 20)
    program.kill()
    program.wait()
    program = start("warehouse.py", database)
    equal(simulation.wait(timeout=60), 0)
    shared.cut()
    equal(simulate(2).wait(timeout=60), 0)
    last = shared.post_event("the last")
    wait_for(database, "SELECT id FROM events", lambda found: (last,) in found)
    end(program)
    ids = [id for id, in rows(database, "SELECT id FROM events ORDER BY id")]
    equal(ids, logged(service))

    # From the beginning once more: nothing comes twice.
    with sqlite3.connect(database) as connection:
        (before,) = connection.execute("SELECT cursor FROM cursor").fetchone()
        connection.execute("DELETE FROM cursor")
    program = start("warehouse.py", database)
    wait_for(database, "SELECT cursor FROM cursor", lambda found: found == [(before,)])
    end(program)
    equal(ids, [id for id, in rows(database, "SELECT id FROM events ORDER BY id")])
    equal(rows(database, f"SELECT event_name, call_id, json_extract(event, '$.callId') FROM events WHERE id = '{last}'"),
          [("CallHandler.CallEnded", "the last", "the last")])


class Verbex(http.server.BaseHTTPRequestHandler):
    """Verbex's API, in so far as it gives analyses: busy at the first request, and without one for some calls."""

    asked: list[tuple] = []
    without = {"later": 404, "odd 400": 400, "odd 422": 422}
    odd = {"odd 1": {}, "odd 2": {"data": None}, "odd 3": {"data": {"items": [{"result": "true"}]}}, "odd 4": [],
           "odd 5": {"data": {"items": None}}, "odd 6": {"data": {"items": ["callback wanted"]}},
           "odd 7": {"data": {"items": [{"name": ["callback wanted"]}]}}}

    def do_GET(self):
        self.asked.append((self.path, self.headers["Authorization"]))
        agent, call = self.path.removeprefix("/v2/ai-agents/").split("/postcall-analysis/results/")
        item = {"name": "callback wanted", "type": "boolean", "description": "", "analysis_prompt": "…", "result": "true"}
        answer = {"status": 200, "data": {"call_id": call, "ai_agent_id": agent, "items": [item]}}
        call = urllib.parse.unquote(call)
        status = 503 if len(self.asked) == 1 else self.without.get(call, 200)
        body = json.dumps(self.odd.get(call, answer) if status == 200 else {}).encode()
        body = b"<html>" if call == "odd 8" else body
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def check_follow_up(database: str):
    """Each analysed call has its row, with what happened before and what Verbex found out, even if it was busy."""
    verbex = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Verbex)
    threading.Thread(target=verbex.serve_forever, daemon=True).start()
    os.environ |= {"VERBEX_API_URL": f"http://127.0.0.1:{verbex.server_port}", "VERBEX_API_KEY": "a key"}
    transfer = json.loads(shared.BODIES["call_transferred"]) | {"call_id": "followed"}
    analysed = {"eventName": "callAnalysis.pcaCompleted", "agent_id": "an agent", "status": "success"}
    program = start("follow_up.py", database)
    shared.post(json.dumps(transfer).encode())
    shared.post(json.dumps(analysed).encode())  # of no call: it is passed over
    shared.post(json.dumps(analysed | {"call_id": "followed"}).encode())
    followed = "SELECT call_id, agent_id, happened, analysis, to_do FROM follow_ups WHERE call_id IN ('followed', 'later') ORDER BY call_id"
    happened = "CallTransferred failed, pcaCompleted success"
    first = ("followed", "an agent", happened, '{"callback wanted": "true"}', "call +8801762668080 back: nobody could take the call")
    wait_for(database, followed, lambda found: found == [first])
    program.kill()
    program.wait()
    shared.cut()
    shared.post(json.dumps(analysed | {"call_id": "later"}).encode())
    program = start("follow_up.py", database)
    wait_for(database, followed, lambda found: found == [first, ("later", "an agent", "pcaCompleted success", "null", "")])
    odd = sorted([*Verbex.odd, "odd 8", "odd 400", "odd 422"])
    for call in odd:
        shared.post(json.dumps(analysed | {"call_id": call}).encode())
    wait_for(database, "SELECT call_id, analysis FROM follow_ups WHERE call_id LIKE 'odd %' ORDER BY call_id",
             lambda found: found == [(call, "null") for call in odd])
    end(program)
    url = "/v2/ai-agents/an%20agent/postcall-analysis/results/"
    asked = [request for request in Verbex.asked if request[0].startswith(url) and "/odd" not in request[0]]
    # Once more after the 503; what was killed after its work and before its cursor asks again.
    assert Verbex.asked[0] in Verbex.asked[1:], Verbex.asked
    equal(set(asked), {(url + "followed", "Bearer a key"), (url + "later", "Bearer a key")})
    verbex.shutdown()


def main():
    with grpc.insecure_channel(os.environ["GRPC_ADDR"]) as channel:
        check_warehouse(os.path.join(os.environ["FOLDER"], "warehouse.db"), event_service_pb2_grpc.EventServiceStub(channel))
        check_follow_up(os.path.join(os.environ["FOLDER"], "follow_ups.db"))


main()
