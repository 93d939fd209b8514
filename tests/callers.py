"""Functions that call each other with likelihoods of their own, and watching whose code is loaded while they run."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from tests.servers import Server, eventually

MONITORED = {"forerun:monitoring": "on"}
# A call that does not come is waited for 2.5 s longer than usual.
SETTINGS = {
    "FORERUN_MONITORING_FUNCTION_PER_S": "1000",
    "FORERUN_MONITORING_TOTAL_PER_S": "1000",
    "FORERUN_FORESIGHT_PRELOAD_SAMPLES": "20",
    "FORERUN_FORESIGHT_PRELOAD_MARGIN_S": "2.5",
}
# How functions are watched before: nothing is learned of when they are called, only whom they call.
TRAINING = SETTINGS | {"FORERUN_FORESIGHT_ENABLED": "false"}
LOAD_S = 0.4
# What takes long to load, as code with many dependencies does.
SLOW = f"import time\ntime.sleep({LOAD_S})\n"
# The event says by functions' names whom they call after how many seconds: {"A": {"calls": ["B"], "after": 0.1}}.
CALLS = """
import json, os, time
import boto3
client = boto3.client("lambda")
def handler(event, context):
    mine = event.get(context.function_name, {})
    time.sleep(mine.get("after", 0))
    spent = []
    for name in mine.get("calls", ()):
        began = time.monotonic()
        reply = client.invoke(FunctionName=name, Payload=json.dumps(event))
        assert "FunctionError" not in reply, reply["Payload"].read()
        spent.append(time.monotonic() - began)
        json.load(reply["Payload"])
    return {"spent": spent}
"""


def caller(server: Server, name: str, *, slow: bool = True) -> str:
    """A function that calls whom the event says; ``slow`` takes long to load."""
    source = (SLOW if slow else "") + CALLS
    return server.function(source, name=name, Tags=MONITORED, Timeout=30, MemorySize=256)


def renewed(server: Server, name: str) -> None:
    """Make a function anew: no sandbox of it is left, and of its own past nothing is known; but who calls it still is."""
    server.lambda_.delete_function(FunctionName=name)
    eventually(lambda: not sandboxes_of(server, name), what=f"no sandbox of {name}")
    caller(server, name)


def plan(path: Sequence[str], *, after: float) -> dict[str, Any]:
    """The event of a run along ``path``, each calling the next ``after`` seconds."""
    steps = zip(path, [*path[1:], None], strict=True)
    return {
        name: {"after": after if following else 0.0, "calls": [following] if following else []}
        for name, following in steps
    }


def train(server: Server, paths: Mapping[tuple[str, ...], int], *, after: float = 0.1) -> None:
    """Runs along each path so many times; all of them are in the profile of the first when this returns."""
    events = [plan(path, after=after) for path, times in paths.items() for _ in range(times)]
    first = next(iter(paths))[0]
    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(server.call, first, event) for event in events]:
            done.result(60)
    eventually(lambda: sampled(server, first) >= len(events), what=f"{len(events)} runs of {first}")


def sampled(server: Server, name: str) -> int:
    """How many executions the function's profile is made of."""
    path = f"/forerun/profile?FunctionName={name}"
    answer = server.request("GET", path, headers=server.signed("GET", path, service="forerun"))
    return answer.json()["Profile"]["sampled"] if answer.status == 200 else 0


def sandboxes_of(server: Server, name: str) -> list[dict[str, Any]]:
    """The sandboxes that a function's code is loaded into."""
    return [each for each in server.sandboxes() if each["name"] == name]


class Seen:
    """When functions had unused sandboxes ready for the first and the last time (epoch seconds), and how many at most."""

    def __init__(self) -> None:
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self.most: dict[str, int] = {}

    def look(self, server: Server, names: Sequence[str]) -> None:
        found = Counter(
            each["name"]
            for each in server.sandboxes()
            if each["state"] == "idle" and not each["calls"]
        )
        now = time.time()
        for name in found.keys() & set(names):
            self.first.setdefault(name, now)
            self.last[name] = now
            self.most[name] = max(self.most.get(name, 0), found[name])


@contextmanager
def watching(server: Server, *names: str) -> Iterator[Seen]:
    """What is ready of these functions during the block."""
    seen, over = Seen(), Event()
    failed: list[BaseException] = []

    def watch() -> None:
        try:
            while not over.wait(0.01):
                seen.look(server, names)
        except BaseException as error:  # noqa: BLE001 it is raised where the block ends
            failed.append(error)

    thread = Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join(10)
    if failed:
        raise failed[0]


def record_of(server: Server, name: str, *, after: float) -> dict[str, Any]:
    """The record of the function's latest invocation since ``after`` (epoch seconds)."""

    def found() -> list[dict[str, Any]]:
        return [
            each for each in server.invocations(name, 10) if each["timings"]["received"] >= after
        ]

    return eventually(found, what=f"a record of {name}")[0]


def start_s(record: dict[str, Any]) -> float:
    """From when the call was let in to the first line of the handler."""
    return float(record["timings"]["started"] - record["timings"]["admitted"])
