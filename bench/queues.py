"""Queues that feed functions: how soon a taken message runs, and how many a second go through a mapping.

    .venv/bin/python bench/queues.py [--quick] [--json] [--out FILE]

Throughput is that of a backlog: messages of 200 bytes are sent while the mapping is disabled, and the clock runs from when it
is enabled until the queue is empty, which is when the last message was run and deleted.
"""

import sys
import threading
import time
from collections.abc import Iterator

from case import PYTHON, Run
from monitoring import as_command
from results import Line
from server import Server

BODY = "x" * 200
SENDERS = 4
PATIENCE_S = 120.0


class Queue:
    """A queue with a function that it feeds; ``batch`` messages at a time."""

    def __init__(self, server: Server, name: str, batch: int = 1, *, enabled: bool = True) -> None:
        self._server = server
        self.name = name
        self.sqs, self._lambda = server.api("sqs"), server.api()
        self.url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        asked = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        self._mapping = self._lambda.create_event_source_mapping(
            FunctionName=name,
            EventSourceArn=asked["Attributes"]["QueueArn"],
            BatchSize=batch,
            MaximumBatchingWindowInSeconds=1 if batch > 10 else 0,
            Enabled=enabled,
        )["UUID"]
        if enabled:
            self._await("Enabled")

    def enable(self, *, on: bool) -> None:
        self._lambda.update_event_source_mapping(UUID=self._mapping, Enabled=on)
        if not on:
            self._await("Disabled")

    def fill(self, count: int) -> None:
        """Send so many messages, over several connections."""

        def send(part: int) -> None:
            sqs = self._server.api("sqs")
            for _ in range(0, part, 10):
                entries = [{"Id": str(place), "MessageBody": BODY} for place in range(10)]
                sqs.send_message_batch(QueueUrl=self.url, Entries=entries)

        senders = [threading.Thread(target=send, args=(count // SENDERS,)) for _ in range(SENDERS)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()

    def left(self) -> int:
        """Messages that are there, visible or not."""
        asked = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return sum(int(asked["Attributes"][name]) for name in names)

    def drain(self) -> float:
        """Seconds until it is empty; ``RuntimeError`` when that takes too long."""
        began = time.perf_counter()
        while self.left():
            if time.perf_counter() - began > PATIENCE_S:
                raise RuntimeError(f"{self.left()} messages are left after {PATIENCE_S:g} s")
            time.sleep(0.02)
        return time.perf_counter() - began

    def waits_ms(self, count: int) -> list[tuple[float, str]]:
        """Of each run from taking its message to the first line of the handler, and its start type, when so many are on record."""
        path = f"/forerun/invocations?FunctionName={self.name}&MaxItems=1000"
        deadline = time.perf_counter() + PATIENCE_S
        while True:
            records = [
                each
                for each in self._server.ask(path)["Invocations"]
                if each["timings"]["dequeued"] and each["timings"]["started"]
            ]
            if len(records) >= count:
                break
            if time.perf_counter() > deadline:
                raise RuntimeError(f"{len(records)} of {count} runs are on record")
            time.sleep(0.1)
        return [
            (
                (each["timings"]["started"] - each["timings"]["dequeued"]) * 1000,
                each["start_type"],
            )
            for each in records
        ]

    def _await(self, state: str) -> None:
        deadline = time.perf_counter() + PATIENCE_S
        while self._lambda.get_event_source_mapping(UUID=self._mapping)["State"] != state:
            if time.perf_counter() > deadline:
                raise RuntimeError(f"the mapping of {self.name} did not become {state}")
            time.sleep(0.01)


def _p99(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


def _warm(run: Run) -> Iterator[Line]:
    """One message after the other to a function that is warm; then a backlog, where messages wait for each other."""
    count, steady, busy = run.size(400, 100), [], []
    for _ in run.rounds(5, 2):
        with Server() as server:
            server.create("steady")
            queue = Queue(server, "steady")
            for _ in range(count):
                queue.sqs.send_message(QueueUrl=queue.url, MessageBody=BODY)
            queue.drain()
            waits = [wait for wait, start in queue.waits_ms(count) if start == "warm"]
            steady.append(_p99(waits))
            server.create("busy")
            queue = Queue(server, "busy", enabled=False)
            queue.fill(1000)
            queue.enable(on=True)
            queue.drain()
            waits = [wait for wait, start in queue.waits_ms(1000) if start == "warm"]
            busy.append(_p99(waits))
    yield run.median("taken to first line, warm, p99", steady, "ms", 10)
    yield run.median("the same of a backlog of 1,000, p99", busy, "ms", 100)


def _pool(run: Run) -> Iterator[Line]:
    """First messages of functions whose sandboxes come from the warming pool."""
    functions, found = run.size(20, 5), []
    for _ in run.rounds(5, 2):
        with Server() as server:
            waits = []
            for number in range(functions):
                name = f"first{number}"
                server.create(name)
                queue = Queue(server, name)
                server.wait_for_pool(PYTHON)
                queue.sqs.send_message(QueueUrl=queue.url, MessageBody=BODY)
                waits += [wait for wait, start in queue.waits_ms(1) if start == "pool"]
        found.append(max(waits, default=float("nan")))
    note = f"the worst of {functions} functions"
    yield run.median("taken to first line, from the pool", found, "ms", 25, note=note)


def _through(run: Run, batch: int, count: int, target: float) -> Iterator[Line]:
    """How fast a backlog goes through a mapping."""
    rates = []
    for _ in run.rounds(5, 2):
        with Server() as server:
            server.create("work")
            queue = Queue(server, "work", batch)
            queue.fill(max(100, 5 * batch))
            queue.drain()
            queue.enable(on=False)
            queue.fill(count)
            queue.enable(on=True)
            rates.append(count / queue.drain())
    yield run.median(
        f"batches of {batch}, a backlog of {count}", rates, "messages/s", target, at_least=True
    )


def queues(run: Run) -> Iterator[Line]:
    """Soon, and many."""
    yield from _warm(run)
    yield from _pool(run)
    yield from _through(run, 1, run.size(10_000, 4_000), 1500)
    yield from _through(run, 100, run.size(100_000, 20_000), 20_000)


if __name__ == "__main__":
    sys.exit(as_command("queues", queues, "Queues that feed functions", __doc__))
