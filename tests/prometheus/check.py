"""What a real gateway exports is read by Prometheus, and its alerts fire on the first thing that is wrong.

The gateway is scraped before and after; both scrapes become the series of a `promtool test rules`.
"""

import os
import pathlib
import re
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request

ADMIN = os.environ["ADMIN_URL"]
WEBHOOK = os.environ["WEBHOOK_URL"]
RULES = pathlib.Path("deploy/prometheus/verbex-gateway.rules.yml").resolve()

# As Prometheus 2 and 3 ask.
OPENMETRICS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def scrape(accept: str) -> str:
    request = urllib.request.Request(f"{ADMIN}/metrics", headers={"accept": accept})
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode()


def post(body: bytes) -> int:
    context = ssl.create_default_context(cafile=os.environ["CA"])
    request = urllib.request.Request(WEBHOOK, data=body, headers={"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, context=context) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def samples(text: str) -> dict[str, str]:
    """Series with the labels that Prometheus adds, and their values."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        series, value = line.rsplit(" ", 1)
        name, labels = re.fullmatch(r"([a-z_]+)(?:\{(.*)\})?", series).groups()
        labels = ",".join(filter(None, ['job="verbex-gateway",instance="g"', labels]))
        found[f"{name}{{{labels}}}"] = value
    return found


def fires(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    """For each alert what promtool says of the expectation that it does not fire."""
    quoted = [
        (series.replace("'", "''"), value, after[series]) for series, value in before.items()
    ]
    lines = [f"rule_files: [{RULES}]", "evaluation_interval: 15s", "tests:", "  - interval: 15s", "    input_series:"]
    for series, old, new in quoted:
        lines.append(f"      - {{ series: '{series}', values: '{old} {old} {new}x40' }}")
    lines.append("    alert_rule_test:")
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    said = {}
    for alert in alerts:
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            file.write("\n".join([*lines, f"      - {{ eval_time: 2m, alertname: {alert} }}"]))
            file.flush()
            done = subprocess.run(["promtool", "test", "rules", file.name], capture_output=True, text=True)
        if done.returncode != 0:
            said[alert] = done.stdout + done.stderr
    return said


before = scrape("*/*")
checked = subprocess.run(["promtool", "check", "metrics"], input=before, capture_output=True, text=True)
assert checked.returncode == 0, checked.stdout + checked.stderr
assert scrape(OPENMETRICS).endswith("# EOF\n")

sample = pathlib.Path(os.environ["SAMPLES"], "call_started.json").read_bytes()
assert post(sample) == 200
quiet = scrape("*/*")
assert post(b"[") == 400
assert post(b'{"eventName":"CallHandler.CallStarted","payload":{"call_mood":1}}') == 200
after = scrape("*/*")

assert samples(before).keys() == samples(after).keys(), "a series appears with its first count"
assert not fires(samples(before), samples(quiet)), fires(samples(before), samples(quiet))
said = fires(samples(before), samples(after))
assert set(said) == {"WebhooksRefused", "VerbexChangedSomething"}, said
assert "BODY_INVALID" in said["WebhooksRefused"], said
print("ok")
