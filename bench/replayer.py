"""A function that does what its event says: one execution of a recorded call tree, deployed under many names.

The event: ``service``, ``duration_ms``, ``steps`` (each ``at_ms``, ``end_ms`` and a ``node`` like the event itself; one
with ``outside`` is fetched from the address in ``outside_url``), and settings of the whole tree in ``replay``: ``prefix``
of the functions' names, ``scale`` of all durations, ``burn`` (the share of own time that uses the CPU), ``outside_url``.

Calls that followed each other follow each other, with the pause they had; calls that overlapped run in threads of their
own, with the distance they had. So order and overlap come back whatever a call costs here. Failures of callees are
counted in the answer, not passed on.
"""

import json
import threading
import time
import urllib.request

import boto3
from botocore.config import Config

# One client for all calls of a sandbox, made in init; nothing is tried again.
CLIENT = boto3.client(
    "lambda",
    config=Config(retries={"total_max_attempts": 1}, max_pool_connections=64, read_timeout=120),
)


def handler(event, context):
    replay = event.get("replay") or {}
    began = time.monotonic()
    runs = 0.0
    result = {"service": event.get("service", ""), "executions": 1, "failed": 0}
    lock = threading.Lock()
    for together in clusters(event.get("steps", [])):
        work(together[0]["at_ms"] - runs, replay)
        run_cluster(together, replay, result, lock)
        runs = max(step["end_ms"] for step in together)
    work(event.get("duration_ms", 0.0) - runs, replay)
    result["took_ms"] = (time.monotonic() - began) * 1000
    return result


def clusters(steps):
    """Steps in lists of those that overlap, also through others; the lists follow each other in time."""
    found, latest = [], None
    for step in sorted(steps, key=lambda each: (each["at_ms"], each["end_ms"])):
        if latest is None or step["at_ms"] >= latest:
            found.append([])
            latest = step["end_ms"]
        found[-1].append(step)
        latest = max(latest, step["end_ms"])
    return found


def run_cluster(steps, replay, result, lock):
    """Run steps that overlap: the first in this thread when it is alone, else each in its own."""
    if len(steps) == 1:
        note(call(steps[0]["node"], replay), result, lock)
        return
    ended = [threading.Event() for _ in steps]
    begins = steps[0]["at_ms"]

    def one(index):
        step = steps[index]
        before = [other for other, each in enumerate(steps) if each["end_ms"] <= step["at_ms"]]
        before = [other for other in before if other != index]
        for other in before:
            ended[other].wait()
        latest = max([steps[other]["end_ms"] for other in before], default=begins)
        try:
            pause(step["at_ms"] - latest, replay)
            note(call(step["node"], replay), result, lock)
        finally:
            ended[index].set()

    threads = [threading.Thread(target=one, args=(index,)) for index in range(len(steps))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def call(node, replay):
    """Call the service of a node; ``(executions, failed)`` below it."""
    try:
        if node.get("outside"):
            ms = node["duration_ms"] * replay.get("scale", 1.0)
            address = f"{replay['outside_url']}/{node['service']}?ms={ms:.3f}"
            with urllib.request.urlopen(address, timeout=60) as answer:
                answer.read()
            return 0, 0
        reply = CLIENT.invoke(
            FunctionName=replay.get("prefix", "") + node["service"],
            Payload=json.dumps({**node, "replay": replay}),
        )
        body = json.loads(reply["Payload"].read())
        if "FunctionError" in reply:
            return 0, 1
        return body["executions"], body["failed"]
    except Exception as error:  # noqa: BLE001 counted and told
        print(f"{node['service']}: {type(error).__name__}: {error}")
        return 0, 1


def note(counts, result, lock):
    with lock:
        result["executions"] += counts[0]
        result["failed"] += counts[1]


def pause(ms, replay):
    if ms > 0:
        time.sleep(ms * replay.get("scale", 1.0) / 1000)


def work(ms, replay):
    """Let own time pass: the share ``burn`` of it on the CPU."""
    burn = max(0.0, ms) * replay.get("burn", 0.0)
    until = time.process_time() + burn * replay.get("scale", 1.0) / 1000
    while time.process_time() < until:
        pass
    pause(ms - burn, replay)
