"""The example subscriber, run as a user would: it gets every event once, and goes on behind the last one after it was killed."""

import json
import os
import pathlib
import ssl
import subprocess
import sys
import tempfile
import urllib.request

EXAMPLE = pathlib.Path(__file__).parents[3] / "examples" / "subscriber.py"


def post(number):
    context = ssl.create_default_context(cafile=os.environ["CA"])
    body = json.dumps({"eventName": "CallHandler.CallEnded", "call_id": str(number)}).encode()
    request = urllib.request.Request(os.environ["WEBHOOK_URL"], body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, context=context, timeout=10) as response:
        return json.load(response)["sequence"]


def run(folder, count):
    """Starts the example, reads so many lines, and kills it."""
    command = [sys.executable, str(EXAMPLE), os.environ["GRPC_ADDR"]]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as example:
        try:
            return [example.stdout.readline().split()[0] for _ in range(count)]
        finally:
            example.kill()


with tempfile.TemporaryDirectory() as folder:
    first = [post(number) for number in range(3)]
    found = run(folder, 3)
    assert found == first, f"{found} is not {first}"
    later = [post(number) for number in range(3, 6)]
    # Killed between its last work and its cursor, it works on that event once more, and on no other.
    found = run(folder, 3)
    assert found in (later, [first[-1], *later[:2]]), f"{found} is not {later}"
