"""Calls at regular times: fewer sandboxes wait for anybody, one with the code appears before each call, none in between."""

import time
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.servers import Server, eventually, running

pytestmark = pytest.mark.slow

PERIOD_S = 4.0
CALLS = 10
POOL = 4
CODE = "def handler(event, context):\n    return 1\n"


class Watcher:
    """Looks at the sandboxes of one function all the time; ``seen`` has the moments and how many there were."""

    def __init__(self, server: Server, name: str) -> None:
        self.seen: list[tuple[float, int]] = []
        self._server, self._name = server, name
        self._over = False
        self._thread = Thread(target=self._watch)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join(10)

    def _watch(self) -> None:
        while not self._over:
            count = len([each for each in self._server.sandboxes() if each["name"] == self._name])
            self.seen.append((time.time(), count))
            time.sleep(0.05)

    def between(self, since: float, until: float) -> list[int]:
        return [count for at, count in self.seen if since <= at < until]


def call_every(server: Server, name: str, period_s: float, count: int) -> list[float]:
    """So many calls at a regular distance; when each was made."""
    first = time.time()
    moments = []
    for number in range(count):
        time.sleep(max(0.0, first + number * period_s - time.time()))
        moments.append(time.time())
        server.call(name)
    return moments


def pool_target(server: Server) -> int:
    return int(server.platform("/forerun/status")["pool_target"]["python3.11"])


@pytest.mark.timeout(150)
def test_calls_at_regular_times_are_prepared_for_and_nothing_waits_in_between(tmp_path: Path):
    with running(tmp_path / "data", settings={"FORERUN_HOST_POOL_MIN": str(POOL)}) as server:
        name = server.function(CODE)
        eventually(lambda: pool_target(server) == POOL, what="the pool's usual target")
        with Watcher(server, name) as watcher:
            moments = call_every(server, name, PERIOD_S, CALLS)
            records = eventually(lambda: at_least(server, name, CALLS), what="all records")
        # Six calls make five gaps; from the seventh on a call was expected.
        expected = moments[-3:]
        for at in expected:
            before = watcher.between(at - PERIOD_S + 1.0, at)
            assert min(before) == 0, "a sandbox was there all the time"
            assert before[-1] == 1, "none was there when the call came"
            rises = [b - a for a, b in pairwise(before)]
            assert rises.count(1) == 1, "it came more than once"
        starts = [(each["start_type"], each["foresight"]) for each in records[-3:]]
        assert starts == [("prewarmed", "hit")] * 3
        assert {each["cause"] for each in records[-3:]} == {"period 4"}

        assert pool_target(server) == 1
        shown = server.platform("/forerun/foresight")["Pools"]["python3.11"]
        assert (shown["Floor"], shown["Base"], shown["Functions"]) == (1, POOL, 1)
        forecast = server.platform(f"/forerun/forecast?FunctionName={name}")
        assert forecast["Forecast"]["period_s"] == pytest.approx(PERIOD_S, abs=1)
        assert forecast["Score"]["Came"] >= 3

        # Nobody calls any more: after some calls that did not come all is as it was.
        eventually(lambda: pool_target(server) == POOL, within=40, what="the target back at base")
        eventually(lambda: not of(server, name), within=40, what="no sandbox of it any more")
        with Watcher(server, name) as watcher:
            time.sleep(2 * PERIOD_S)
        assert set(count for _, count in watcher.seen) == {0}


def of(server: Server, name: str) -> list[dict[str, Any]]:
    return [each for each in server.sandboxes() if each["name"] == name]


def at_least(server: Server, name: str, count: int) -> list[dict[str, Any]] | None:
    """Its records, oldest first."""
    records = sorted(server.invocations(name), key=lambda each: each["timings"]["received"])
    return records if len(records) >= count else None


@pytest.mark.timeout(100)
def test_with_foresight_off_the_same_calls_find_an_idle_sandbox_and_a_full_pool(tmp_path: Path):
    settings = {"FORERUN_FORESIGHT_ENABLED": "false", "FORERUN_HOST_POOL_MIN": str(POOL)}
    with running(tmp_path / "data", settings=settings) as server:
        name = server.function(CODE)
        call_every(server, name, 2.0, 8)
        records = eventually(lambda: at_least(server, name, 8), what="all records")
        assert {each["start_type"] for each in records[1:]} == {"warm"}
        assert {each["foresight"] for each in records[1:]} == {""}
        assert pool_target(server) == POOL
        assert not server.platform("/forerun/forecast")["Enabled"]
        log = next(tmp_path.glob("data.*.log")).read_text()
        assert log.count("foresight.enabled is false") == 1


@pytest.mark.timeout(100)
@pytest.mark.soak
def test_what_was_learned_outlives_a_server_that_is_killed(tmp_path: Path):
    settings = {"FORERUN_HOST_POOL_MIN": str(POOL)}
    with running(tmp_path / "data", settings=settings) as server:
        name = server.function(CODE)
        last = call_every(server, name, PERIOD_S, 8)[-1]
        eventually(
            lambda: server.platform("/forerun/foresight")["KeptUntil"] > last, what="it is written"
        )
        server.process.kill()
        server.process.wait(10)
    with running(tmp_path / "data", settings=settings) as server:
        known = eventually(
            lambda: server.platform(f"/forerun/forecast?FunctionName={name}")["Forecast"],
            what="what was known before",
        )
        assert known["calls"] == 8
        assert known["habits"][0]["median_s"] == pytest.approx(PERIOD_S, abs=1)
        score = server.platform(f"/forerun/forecast?FunctionName={name}")["Score"]
        assert score["Calls"] == 8
        server.lambda_.delete_function(FunctionName=name)
        eventually(
            lambda: not server.platform("/forerun/forecast")["Functions"],
            what="a forecast of nothing",
        )
