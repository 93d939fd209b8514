"""The replayer keeps order, overlap and distance of recorded calls."""

import threading
import time

import pytest

with pytest.MonkeyPatch.context() as patch:
    patch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    from bench import replayer


def step(at, end, service="s"):
    return {"at_ms": at, "end_ms": end, "node": {"service": service, "duration_ms": end - at}}


@pytest.mark.parametrize(
    ("spans", "sizes"),
    [
        ([], []),
        ([(0, 1), (1, 2), (5, 9)], [1, 1, 1]),
        ([(0, 10), (5, 6), (8, 12), (12, 13)], [3, 1]),
    ],
    ids=["none", "one-after-the-other", "overlapping"],
)
def test_clusters_are_what_overlaps(spans, sizes):
    found = replayer.clusters([step(*span) for span in spans])
    assert [len(cluster) for cluster in found] == sizes


@pytest.fixture
def seen(monkeypatch):
    """What was called: service, start and end in ms; calls take as long as recorded, and 30 ms more."""
    calls, lock, began = [], threading.Lock(), time.monotonic()

    def call(node, replay):
        start = time.monotonic()
        time.sleep(node["duration_ms"] / 1000 + 0.03)
        with lock:
            ms = [(moment - began) * 1000 for moment in (start, time.monotonic())]
            calls.append((node["service"], *ms))
        return 1, 0

    monkeypatch.setattr(replayer, "call", call)
    return calls


def test_order_and_overlap_come_back_though_calls_take_longer(seen):
    steps = [step(10, 30, "a"), step(12, 20, "b"), step(22, 40, "c"), step(45, 50, "d")]
    result = replayer.handler({"service": "me", "duration_ms": 60, "steps": steps}, None)
    assert result["executions"] == 5
    assert result["failed"] == 0
    at = {name: (start, end) for name, start, end in seen}
    assert at["b"][0] < at["a"][1], "a and b overlap"
    assert at["c"][0] >= at["b"][1], "c follows b"
    assert at["d"][0] >= max(at["a"][1], at["c"][1]), "d follows all"


def test_failures_of_callees_are_counted(monkeypatch):
    class Client:
        def invoke(self, **_):
            raise ConnectionError("gone")

    monkeypatch.setattr(replayer, "CLIENT", Client())
    result = replayer.handler({"service": "me", "steps": [step(0, 1), step(2, 3)]}, None)
    assert result["failed"] == 2


def test_own_time_is_scaled_and_may_be_burnt():
    began, used = time.monotonic(), time.process_time()
    replayer.handler({"duration_ms": 400, "replay": {"scale": 0.25, "burn": 0.5}}, None)
    assert time.monotonic() - began >= 0.09
    assert time.process_time() - used >= 0.045
