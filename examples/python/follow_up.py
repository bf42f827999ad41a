"""Follows up each call when its analysis is complete: fetches it, reads what happened in the call, and writes down what is to be done.

It goes on from subscriber.py, which must lie beside it and says how to install and generate:

    export VERBEX_API_KEY=…  # an API key of Verbex; without one, as for made-up calls, no analysis is fetched
    PYTHONPATH=. python examples/python/follow_up.py 127.0.0.1:50051 follow_ups.db
    sqlite3 follow_ups.db 'SELECT * FROM follow_ups'

To change: what_to_do(). A call has one row however often it comes, and the row is there before the cursor moves. So when Verbex
does not answer, all is done again a little later. Whoever must not wait for one call's analysis writes down that it is missing.
"""

import http.client
import json
import os
import sqlite3
import sys
import urllib.error
import urllib.parse
import urllib.request

from subscriber import Later, connect, follow
from verbex.gateway.v1 import event_pb2, event_service_pb2 as pb, event_service_pb2_grpc as rpc

TABLES = """
CREATE TABLE IF NOT EXISTS follow_ups (call_id TEXT PRIMARY KEY, agent_id TEXT, happened TEXT, analysis TEXT, to_do TEXT);
CREATE TABLE IF NOT EXISTS cursor (id INTEGER PRIMARY KEY CHECK (id = 1), cursor TEXT NOT NULL);
"""
VERBEX = os.environ.get("VERBEX_API_URL", "https://api.verbex.ai")
API_KEY = os.environ.get("VERBEX_API_KEY")


def analysis(agent_id, call_id):
    """The results of a call's analysis by their names, as configured for the agent. None if Verbex has no such analysis, or answers
    in another form than we know: asking again would not mend that, and all later calls would wait."""
    agent, call = urllib.parse.quote(agent_id, safe=""), urllib.parse.quote(call_id, safe="")
    url = f"{VERBEX}/v2/ai-agents/{agent}/postcall-analysis/results/{call}"
    try:
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {API_KEY}"})
        with urllib.request.urlopen(request, timeout=10) as response:
            answer = response.read()
    except urllib.error.HTTPError as error:
        if error.code in (400, 404, 422):  # it has none, or cannot have one for such ids
            return None
        if error.code in (401, 403):
            sys.exit(f"Verbex does not take the API key: {error}")
        raise Later(f"the analysis of call {call_id}: {error}") from error
    except (OSError, http.client.HTTPException) as error:  # no answer, in time or at all, or one that broke off
        raise Later(f"the analysis of call {call_id}: {error}") from error
    try:
        return {item["name"]: item.get("result") for item in json.loads(answer)["data"]["items"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        print(f"the analysis of call {call_id} has another form than expected, and is left out: {error!r}", file=sys.stderr)
        return None


def history(channel, call_id):
    """All events of a call until now, in the order in which they came: Verbex may tell of an end before it tells of a transfer."""
    request, events = pb.ListEventsRequest(filter=pb.EventFilter(call_ids=[call_id])), []
    while True:
        page = rpc.EventServiceStub(channel).ListEvents(request, timeout=30)
        events += page.events
        if not page.next_page_token:
            return events
        request.page_token = page.next_page_token


def what_to_do(events):
    for event in reversed(events):
        if event.HasField("call_transferred"):
            if event.status == "failed":
                return f"call {event.call_transferred.caller.phone_number} back: nobody could take the call"
            return "; ".join(event.call_transferred.call_summary.unresolved_issues)
    return ""


def main(address="127.0.0.1:50051", path="follow_ups.db"):
    database = sqlite3.connect(path)
    database.executescript(TABLES)
    (cursor,) = database.execute("SELECT max(cursor) FROM cursor").fetchone()
    analysed = pb.EventFilter(event_types=[event_pb2.EVENT_TYPE_PCA_COMPLETED])
    request = pb.SubscribeRequest(subscriber_name="follow-up", filter=analysed, start_position=pb.START_POSITION_EARLIEST)
    with connect(address) as channel:

        def take(message):
            with database:  # one transaction
                if message.event.call_id:
                    events = history(channel, message.event.call_id)
                    happened = ", ".join(f"{event.event_name.split('.')[-1]} {event.status}" for event in events)
                    found = analysis(message.event.agent_id, message.event.call_id) if API_KEY else None
                    row = message.event.call_id, message.event.agent_id, happened, json.dumps(found), what_to_do(events)
                    database.execute("INSERT OR REPLACE INTO follow_ups VALUES (?, ?, ?, ?, ?)", row)
                database.execute("INSERT OR REPLACE INTO cursor VALUES (1, ?)", (message.cursor,))

        follow(channel, request, cursor, take)


if __name__ == "__main__":
    main(*sys.argv[1:])
