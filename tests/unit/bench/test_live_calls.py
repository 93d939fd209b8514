"""Calls are played in less time; what counts as a start is the same live and in the simulator."""

from collections import Counter

import pytest
from bench.live_calls import accelerated, costs, waited

from forerun.prediction.replay import About, ByCalls, Call


def test_times_and_durations_are_scaled_and_begin_at_0():
    recording = ByCalls(
        [About("a", "x"), About("b", "y")],
        [Call(100.0, 8.0, 1), Call(120.0, 4.0, 0)],
        Counter(),
    )
    played = accelerated(recording, 4.0)
    assert played.calls == [Call(0.0, 2.0, 1), Call(5.0, 1.0, 0)]
    assert [(each.name, each.group) for each in played.functions] == [
        ("replayed-0", ""),
        ("replayed-1", ""),
    ]


@pytest.mark.parametrize(
    ("start_type", "waited_s", "expected"),
    [
        pytest.param("warm", 0.0, False, id="warm"),
        pytest.param("pool", 0.001, True, id="pool"),
        pytest.param("zygote", 0.01, True, id="zygote"),
        pytest.param("cold", 0.3, True, id="cold"),
        pytest.param("prewarmed", 0.0001, False, id="prepared in time"),
        pytest.param("prewarmed", 0.08, True, id="being prepared"),
        pytest.param("preloaded", 0.0001, False, id="preloaded"),
    ],
)
def test_which_calls_waited_for_a_start(start_type, waited_s, expected):
    timings = {"admitted": 1_000.0, "acquired": 1_000.0 + waited_s}
    assert waited({"start_type": start_type, "timings": timings}) is expected


def test_what_was_not_called_keeps_its_costs():
    asked = []

    def ask(path):
        asked.append(path)
        known = {"name": "b", "memory_mb": 5.0, "start_ms": 140.0, "calls": []}
        return {"functions": [known]}

    found = costs(ask, [About("a"), About("b")], 1_000.5)
    assert found == [About("a"), About("b", memory_mb=5.0, start_ms=140.0)]
    assert asked[0].startswith("/forerun/history?Since=1000&")
