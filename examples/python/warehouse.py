"""Keeps a SQLite table of all events, each exactly once: a row and the cursor behind it are of one transaction.

It goes on from subscriber.py, which must lie beside it and says how to install and generate:

    PYTHONPATH=. python examples/python/warehouse.py 127.0.0.1:50051 warehouse.db
    sqlite3 -csv -header warehouse.db 'SELECT * FROM events' >events.csv

To change: the columns, and the view or the filter of the request.
"""

import sqlite3
import sys

from google.protobuf.json_format import MessageToJson
from subscriber import connect, follow
from verbex.gateway.v1 import event_service_pb2 as pb

TABLES = """
CREATE TABLE IF NOT EXISTS events (
    id TEXT PRIMARY KEY, event_name TEXT, event_time TEXT, call_id TEXT, agent_id TEXT, organization_id TEXT, status TEXT, event TEXT
);
CREATE TABLE IF NOT EXISTS cursor (id INTEGER PRIMARY KEY CHECK (id = 1), cursor TEXT NOT NULL);
"""


def row(event):
    time, whole = event.event_time.ToJsonString(), MessageToJson(event, indent=None)
    return event.id, event.event_name, time, event.call_id, event.agent_id, event.organization_id, event.status, whole


def main(address="127.0.0.1:50051", path="warehouse.db"):
    database = sqlite3.connect(path)
    database.executescript(TABLES)

    def take(message):
        with database:  # one transaction
            if message.HasField("event"):
                database.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row(message.event))
            database.execute("INSERT OR REPLACE INTO cursor VALUES (1, ?)", (message.cursor,))

    (cursor,) = database.execute("SELECT max(cursor) FROM cursor").fetchone()
    request = pb.SubscribeRequest(subscriber_name="warehouse", start_position=pb.START_POSITION_EARLIEST)
    with connect(address) as channel:
        follow(channel, request, cursor, take)


if __name__ == "__main__":
    main(*sys.argv[1:])
