"""Sandboxes are used again, cheapest first, many run at once, and idle ones end after their keep-alive."""

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.servers import Server, eventually, package, running

pytestmark = pytest.mark.slow

WHO = "import os, uuid\nme = uuid.uuid4().hex\ndef handler(event, context):\n    return me\n"
SLEEP = (
    "import time\n"
    "def handler(event, context):\n"
    "    time.sleep(event['s'])\n"
    "    return event['n'] ** 2\n"
)


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that keeps idle sandboxes for a short while: 2 s the rare, 8 s the busy."""
    settings = {
        "FORERUN_HOST_KEEP_ALIVE_MIN_S": "2",
        "FORERUN_HOST_KEEP_ALIVE_MAX_S": "8",
        "FORERUN_SANDBOX_INIT_TIMEOUT_S": "2",
        # What is tested is the own rule of a host.
        "FORERUN_FORESIGHT_ENABLED": "false",
    }
    with running(tmp_path_factory.mktemp("brief") / "data", settings=settings) as server:
        yield server


def held(server: Server, name: str) -> list[dict[str, Any]]:
    """The sandboxes that serve a function."""
    return [sandbox for sandbox in server.sandboxes() if sandbox.get("name") == name]


def start_ms(record: dict[str, Any]) -> float:
    """From receipt to the first line of the handler."""
    timings = record["timings"]
    return (timings["started"] - timings["received"]) * 1000


def recorded(server: Server, name: str, count: int) -> list[dict[str, Any]]:
    """The function's records, once there are ``count``; the newest first."""

    def enough() -> list[dict[str, Any]]:
        found = server.invocations(name, 1000)
        return found if len(found) >= count else []

    return eventually(enough, what=f"{count} records")


def test_fifty_inputs_at_once(brief: Server):
    name = brief.function(SLEEP, Timeout=20)
    inputs = [{"n": n, "s": 1.0} for n in range(50)]
    began = time.monotonic()
    with ThreadPoolExecutor(50) as pool:
        results = list(pool.map(lambda event: brief.call(name, event), inputs))
    wall = time.monotonic() - began
    assert results == [n * n for n in range(50)]
    runs = [
        (record["timings"]["started"], record["timings"]["ended"])
        for record in recorded(brief, name, 50)
    ]
    together = max(sum(begin <= at < end for begin, end in runs) for at, _ in runs)
    assert together >= 40, f"only {together} ran at once"
    assert wall < 10, f"50 runs of 1 s took {wall:.1f} s"


def test_warm_starts_are_quick(brief: Server):
    name = brief.function(WHO)
    assert len({brief.call(name) for _ in range(200)}) == 1, "one sandbox serves calls in turn"
    records = recorded(brief, name, 200)
    warm = [start_ms(record) for record in records if record["start_type"] == "warm"]
    assert len(warm) == 199
    p99 = statistics.quantiles(warm, n=100)[98]
    assert p99 < 100, f"p99 of warm starts: {p99:.1f} ms"


def test_after_the_keep_alive_a_new_one_is_made(brief: Server):
    name = brief.function(WHO)
    first = brief.call(name)
    assert brief.call(name) == first
    assert [sandbox["state"] for sandbox in held(brief, name)] == ["idle"]
    eventually(lambda: not held(brief, name), within=15, what="end of the idle sandbox")
    assert brief.call(name) != first
    assert recorded(brief, name, 3)[0]["start_type"] != "warm"


def test_busy_sandboxes_outlive_rare_ones(brief: Server):
    rare, busy = brief.function(WHO), brief.function(WHO)
    for _ in range(100):
        brief.call(busy)
    brief.call(rare)
    eventually(lambda: not held(brief, rare), within=15, what="end of the rare one's sandbox")
    assert held(brief, busy), "the busy one's sandbox is still kept"
    eventually(lambda: not held(brief, busy), within=20, what="end of the busy one's sandbox")


def test_no_sandbox_serves_two_functions_or_versions(brief: Server):
    names = [brief.function(WHO, Publish=True) for _ in range(3)]
    seen = [brief.call(name, Qualifier=q) for name in names for q in ("1", "$LATEST")]
    assert len(set(seen)) == 6


def test_changed_code_is_served_at_once(brief: Server):
    name = brief.function("def handler(event, context):\n    return 0\n")
    for n in range(1, 6):
        assert brief.call(name) == n - 1
        code = {"lambda_function.py": f"def handler(event, context):\n    return {n}\n"}
        brief.lambda_.update_function_code(FunctionName=name, ZipFile=package(code))
    assert brief.call(name) == 5


def test_init_that_never_ends(brief: Server):
    name = brief.function("while True: pass\n", Timeout=3)
    error = brief.failure(name)
    assert "timed out" in error["errorMessage"].lower()
    assert brief.call(brief.function(WHO))


def test_the_pool_grows_with_the_rate_of_requests(brief: Server):
    """The warming pool's target follows the calls that needed a new sandbox, and falls when they stop."""

    def target() -> int:
        return int(brief.platform("/forerun/status")["pool_target"].get("python3.11", 0))

    brief.call(brief.function(WHO))
    quiet = eventually(target)
    names = [brief.function(WHO) for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(brief.call, names))
    risen = target()
    assert risen > quiet
    eventually(lambda: target() < risen, within=40, what="fall of the target in quiet times")
