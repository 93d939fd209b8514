"""What rules over the platform's own events cost an event, and how late an absence is noticed.

    .venv/bin/python bench/metaevents.py [--quick] [--json] [--out FILE]

A thousand rules of all kinds are asked about ends of executions, within this process: ends that one rule of each kind looks for,
ends that nobody does, and, as the worst that can be made of a thousand rules, ends that all of them look for. Jobs are counted, and
go nowhere. Then a real server has rules whose absences fall due one after the other.
"""

import asyncio
import itertools
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session
from case import Run
from monitoring import as_command
from results import Line
from server import Server

from forerun.aio import SystemClock
from forerun.control.metaevents import Notebook, Rule, Watcher
from forerun.control.metaevents.rules import Definition
from forerun.control.monitoring import Monitor
from forerun.events import Bus, ExecutionEnded, ExecutionSeen
from forerun.metaevents import Limits
from forerun.model import InvocationRecord, Origin, Timings, TraceContext
from forerun.settings import MonitoringSettings
from forerun.storage import open_sqlite
from forerun.storage.metaevents import MetaeventStore, RuleRow
from forerun.storage.sqlite import MESSAGES

ACCOUNT = "1" * 12
RULES, EVENT_US = 1000, 50.0
LATE_MS = 100.0
WITHIN_S = 1.0


def criteria(function: str, number: int) -> dict[str, Any]:
    """One of the kinds there are, by turns."""
    ended = {"event": "execution.ended", "function": function}
    failed = {**ended, "where": "event.status == 'error' && event.duration_ms > 1000"}
    return [
        failed,
        {"count": failed, "over": "5m", "at_least": 3},
        {"quantile": ended, "field": "duration_ms", "p": 0.95, "over": "5m", "more_than": 5000},
        {"absent": {**ended, "where": "event.status == 'success'"}, "within": "1h"},
        {"sequence": [failed, {**ended, "where": "event.cold"}], "within": "1m"},
    ][number % 5]


class Outbox:
    """Counts."""

    def __init__(self) -> None:
        self.sent = 0

    async def send(self, messages: Any) -> None:
        self.sent += len(messages)


def seen(function: str, number: int) -> ExecutionSeen:
    """The end of an execution."""
    now = time.time()
    record = InvocationRecord(
        request_id=f"r-{number}",
        account=ACCOUNT,
        name=function,
        version="1",
        duration_ms=10.0 + number % 100,
        timings=Timings(received=now, started=now, answered=now),
    )
    context = TraceContext(
        trace_id=f"{number:032x}", span_id=f"{number:016x}", origin=Origin(), header=""
    )
    return ExecutionSeen(ended=ExecutionEnded(record=record, context=context, region="us-home-1"))


async def costs(
    function_of: Callable[[int], str], asked_of: Callable[[int], str], events: int
) -> list[float]:
    """Microseconds for each of so many events, one by one, of a thousand rules."""
    with tempfile.TemporaryDirectory() as folder:
        db = await open_sqlite(Path(folder) / "messages.db", migrations=MESSAGES)
        bus, clock = Bus(), SystemClock()
        watcher = Watcher(
            outbox=Outbox(),
            bus=bus,
            monitor=Monitor(MonitoringSettings(), key=b"k" * 32, running={}.get),
            notebook=Notebook(MetaeventStore(db), clock),
            clock=clock,
            limits=Limits(depth=8, rule_per_minute=10, account_per_minute=100),
            region="us-home-1",
        )
        now = time.time()
        for number in range(RULES):
            definition = Definition(
                when=criteria(function_of(number), number),
                job=f"arn:aws:lambda:us-home-1:{ACCOUNT}:function:job",
            )
            encoded = msgspec.json.encode(definition)
            row = RuleRow(ACCOUNT, f"rule-{number}", "r", now, now, now, encoded)
            watcher.put(Rule(row, 10.0))
        watcher.start()
        found = []
        for number in range(events):
            notices = [seen(asked_of(number), number)]
            began = time.perf_counter()
            await watcher.consume(notices)
            found.append((time.perf_counter() - began) * 1e6)
        await watcher.close()
        await bus.close()
        await db.close()
    return found


def of_events(run: Run) -> Iterator[Line]:
    """In this process."""
    shapes = (
        ("one rule looks for", lambda n: f"f-{n}", lambda n: f"f-{n % RULES}", 20_000, EVENT_US),
        (
            "five rules look for",
            lambda n: f"f-{n // 5}",
            lambda n: f"f-{n % 200}",
            10_000,
            EVENT_US,
        ),
        ("nobody looks for", lambda n: f"f-{n}", lambda n: f"g-{n}", 20_000, EVENT_US),
        ("all rules look for", lambda _: "f", lambda _: "f", 200, None),
    )
    for what, function_of, asked_of, events, target in shapes:
        medians = []
        for _ in run.rounds(5, 1):
            found = asyncio.run(costs(function_of, asked_of, run.size(events, events // 10)))
            medians.append(statistics.median(found))
        yield run.median(f"{RULES:,} rules, an event that {what}", medians, "us", target)


def of_absences(run: Run) -> Iterator[Line]:
    """With a real server, and a disk that jobs are written to."""
    late: list[float] = []
    worst: list[float] = []
    for _ in run.rounds(5, 1):
        with Server() as server:
            server.create("alarm")
            ask = _Asker(server)
            names = [f"rule-{number}" for number in range(run.size(40, 10))]
            leaf = {"event": "execution.started", "function": "backup"}
            for name in names:
                within = WITHIN_S + random.random()
                ask.post(
                    "put-metaevent",
                    {"Name": name, "When": {"absent": leaf, "within": within}, "Job": "alarm"},
                )
            deadline = time.monotonic() + 30
            found: dict[str, float] = {}
            while len(found) < len(names) and time.monotonic() < deadline:
                for name in set(names) - found.keys():
                    rule = ask.get(f"metaevent?Name={name}")["Metaevent"]
                    if rule["Jobs"]:
                        due = rule["Since"] + rule["When"]["within"]
                        found[name] = (rule["Jobs"][0]["At"] - due) * 1000
        late.append(statistics.median(found.values()))
        worst.append(max(found.values()) if len(found) == len(names) else float("nan"))
    yield run.median("an absence is noticed after it fell due", late, "ms", LATE_MS)
    yield run.median("the latest of a round", worst, "ms", LATE_MS)


class _Asker:
    """Signed requests to the platform's own addresses."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._session = URLLib3Session()

    def get(self, name: str) -> Any:
        return self._send("GET", name, b"")

    def post(self, name: str, body: object) -> Any:
        return self._send("POST", name, json.dumps(body).encode())

    def _send(self, method: str, name: str, body: bytes) -> Any:
        env = self._server.environment
        request = AWSRequest(method, f"{env['AWS_ENDPOINT_URL']}/forerun/{name}", data=body)
        keys = Credentials(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"])
        SigV4Auth(keys, "forerun", env["AWS_REGION"]).add_auth(request)
        answer = self._session.send(request.prepare())
        assert answer.status_code == 200, answer.content
        return json.loads(answer.content)


def metaevents(run: Run) -> Iterator[Line]:
    """All of it."""
    return itertools.chain(of_events(run), of_absences(run))


if __name__ == "__main__":
    sys.exit(as_command("metaevents", metaevents, "Metaevents", __doc__))
