"""How a sandbox is come by, cheapest first, and that memory is booked before it is used."""

import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.servers import Server, eventually, running

pytestmark = pytest.mark.slow

HELLO = "def handler(event, context):\n    return 'hello'\n"
SLOW = "import time\ndef handler(event, context):\n    time.sleep(event or 0)\n    return 'hello'\n"


def last(server: Server, name: str, count: int) -> dict[str, Any]:
    """The newest of ``count`` records."""

    def enough() -> list[dict[str, Any]]:
        found = server.invocations(name)
        return found if len(found) >= count else []

    return eventually(enough)[0]


def start_ms(record: dict[str, Any]) -> float:
    return (record["timings"]["started"] - record["timings"]["admitted"]) * 1000


def measured(server: Server, expected: str, runs: int = 7) -> float:
    """The median time to the handler of new functions that start as ``expected``."""
    times = []
    for _ in range(runs):
        name = server.function(HELLO)
        server.call(name)
        record = last(server, name, 1)
        if record["start_type"] == expected:
            times.append(start_ms(record))
    assert len(times) > runs // 2, f"{len(times)} of {runs} started as {expected}"
    return statistics.median(times)


@pytest.mark.root
def test_the_dearer_the_start_the_longer_it_takes(tmp_path: Path):
    """The same function as cold, zygote, pool and warm."""
    no_pool = {"FORERUN_HOST_POOL_MIN": "0", "FORERUN_HOST_POOL_MAX": "0"}
    with running(tmp_path / "bare", settings=no_pool) as server:
        name = server.function(HELLO)
        server.call(name)
        record = last(server, name, 1)
        assert record["start_type"] == "cold", record["placement"]
        cold = start_ms(record)
        zygote = measured(server, "zygote")
    with running(tmp_path / "pool", settings={"FORERUN_HOST_POOL_MIN": "6"}) as server:
        first = server.function(HELLO)
        server.call(first)

        def filled() -> bool:
            ready = [s for s in server.sandboxes() if s["state"] == "pooled"]
            return len(ready) >= 6

        eventually(filled, within=20, what="a full pool")
        times = []
        for _ in range(7):
            name = server.function(HELLO)
            eventually(filled, within=20, what="a full pool")
            server.call(name)
            record = last(server, name, 1)
            assert record["start_type"] == "pool", record["placement"]
            times.append(start_ms(record))
        pool = statistics.median(times)
        for _ in range(20):
            server.call(name)
        last(server, name, 21)
        again = [r for r in server.invocations(name) if r["start_type"] == "warm"]
        assert len(again) == 20
        warm = statistics.median(map(start_ms, again))
    assert warm < pool < zygote < cold, f"{warm:.2f} {pool:.2f} {zygote:.2f} {cold:.2f} ms"


def test_memory_is_booked_before_it_is_used(tmp_path: Path):
    """600 MB: with 400 taken by a running call, 256 more are refused; an idle sandbox gives way."""
    settings = {
        "FORERUN_HOST_MEMORY_MB": "600",
        "FORERUN_HOST_POOL_MIN": "0",
        "FORERUN_HOST_POOL_MAX": "0",
        "FORERUN_HOST_WAIT_S": "1",
    }
    with running(tmp_path / "data", settings=settings) as server:
        large = server.function(SLOW, MemorySize=400, Timeout=20)
        small = server.function(SLOW, MemorySize=256, Timeout=20)
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(server.call, large, 4)
            server.await_busy(call)
            with pytest.raises(ClientError) as caught:
                server.lambda_.invoke(FunctionName=small)
            assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
            assert sum(s["booked_mb"] for s in server.sandboxes()) <= 600
            assert call.result(20) == "hello"
        assert server.call(small) == "hello", "the idle large sandbox gave way"
        eventually(lambda: sum(s["booked_mb"] for s in server.sandboxes()) <= 600)
        too_large = server.function(SLOW, MemorySize=1024)
        with pytest.raises(ClientError) as caught:
            server.lambda_.invoke(FunctionName=too_large)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (429, 500, 502)


def test_a_call_waits_for_memory_that_becomes_free(tmp_path: Path):
    settings = {
        "FORERUN_HOST_MEMORY_MB": "300",
        "FORERUN_HOST_POOL_MIN": "0",
        "FORERUN_HOST_POOL_MAX": "0",
        "FORERUN_HOST_WAIT_S": "10",
    }
    with running(tmp_path / "data", settings=settings) as server:
        one = server.function(SLOW, MemorySize=200, Timeout=20)
        two = server.function(SLOW, MemorySize=200, Timeout=20)
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(server.call, one, 1)
            server.await_busy(first)
            second = pool.submit(server.call, two, 0)
            assert (first.result(20), second.result(20)) == ("hello", "hello")
        placement = last(server, two, 1)["placement"]
        assert "wait" in placement


def test_two_hundred_functions_at_once(tmp_path: Path):
    """A burst of functions that never ran before is served whole."""
    with running(tmp_path / "data") as server:
        names = [server.function(HELLO) for _ in range(200)]
        with ThreadPoolExecutor(50) as pool:
            assert list(pool.map(server.call, names)) == ["hello"] * 200
