"""A function whose spikes precede those of another: the other's sandboxes are there before its spike comes.

The spikes of two weeks are given as a recording: what the server learns of them is written into its database by the same
code that writes it while the server runs. What is watched are spikes of real calls.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.servers import Server, eventually, running

from forerun.control.ahead.notebook import Notebook
from forerun.control.ahead.traffic import Arrivals
from forerun.model import Qualified
from forerun.prediction import Predictor
from forerun.storage.foresight import ForesightStore
from forerun.storage.sqlite import TRACES, open_sqlite

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CODE = "import time\n\ndef handler(event, context):\n    time.sleep(0.4)\n"
LAG_S = 4.0
LEADING, LED, ALONE = "shop", "risk", "nightly"
SPIKE, LED_SPIKE = 4, 6
DAY_S = 86_400.0
SETTINGS = {"FORERUN_HOST_KEEP_ALIVE_MIN_S": "1", "FORERUN_HOST_KEEP_ALIVE_MAX_S": "1"}


async def remember(data: Path, account: str) -> None:
    """Two weeks of spikes at any time of the day, the last one an hour ago; the third function's are its own."""
    chance = random.Random(7)
    shop, risk, nightly = (Qualified(account, name) for name in (LEADING, LED, ALONE))
    now = time.time()
    moments = sorted(now - 3600.0 - chance.random() * 14 * DAY_S for _ in range(30))
    calls = [(at, shop, SPIKE) for at in moments]
    calls += [(at + LAG_S, risk, LED_SPIKE) for at in moments]
    calls += [(now - 3600.0 - chance.random() * 14 * DAY_S, nightly, SPIKE) for _ in range(30)]
    arrivals = Arrivals()
    predictor: Predictor[Qualified] = Predictor(
        cost=arrivals.cost, group=lambda function: function.account
    )
    for at, function, count in sorted(calls):
        predictor.advance(at)
        predictor.observe(function, at, count)
        traffic = arrivals.put(function)
        assert traffic is not None
        traffic.count, traffic.at = count, at
        traffic.note(at)
        traffic.count = 0
    db = await open_sqlite(data / "traces.db", migrations=TRACES)
    try:
        await Notebook(ForesightStore(db), predictor, arrivals).write(now)
    finally:
        await db.close()


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """A server's data with three functions and their past; starts servers on it."""
    data = tmp_path / "data"
    with running(data) as server:
        for name in (LEADING, LED, ALONE):
            server.function(CODE, name=name)
        account = server.account
    asyncio.run(remember(data, account))
    return lambda **more: running(data, settings=SETTINGS | more)


def spike(server: Server, name: str, count: int) -> None:
    """So many calls at once."""
    with ThreadPoolExecutor(count) as pool:
        for future in [pool.submit(server.call, name) for _ in range(count)]:
            future.result(30)


def idle(server: Server, name: str) -> int:
    return sum(each["name"] == name and each["state"] == "idle" for each in server.sandboxes())


def known(server: Server) -> bool:
    """Whether what was learned before is there."""
    return server.platform("/forerun/foresight")["Known"] == 3


def starts(server: Server, name: str, count: int) -> list[str]:
    def stored() -> list[dict[str, Any]] | None:
        records = server.invocations(name)
        return records if len(records) >= count else None

    return [each["start_type"] for each in eventually(stored, what=f"{count} records")]


def test_the_led_is_up_before_its_spike_and_the_independent_never(recorded: Callable[..., Any]):
    with recorded() as server:
        eventually(lambda: known(server), what="what was learned before")
        spike(server, LEADING, SPIKE)
        began = time.time()
        seen = {name: 0 for name in (LED, ALONE)}
        while time.time() < began + LAG_S - 0.5:
            seen = {name: max(seen[name], idle(server, name)) for name in seen}
            time.sleep(0.05)
        assert idle(server, LED) == LED_SPIKE, "they were not there before the spike"
        forecast = server.platform(f"/forerun/forecast?FunctionName={LED}")
        [leader] = [each for each in forecast["Forecast"]["leaders"] if each["believed"]]
        assert (leader["name"], round(leader["lag_s"])) == (LEADING, round(LAG_S))
        assert ("leader", LEADING) in {(each["Reason"], each["Cause"]) for each in forecast["Held"]}
        spike(server, LED, LED_SPIKE)
        assert starts(server, LED, LED_SPIKE) == ["prewarmed"] * LED_SPIKE
        causes = {(each["foresight"], each["cause"]) for each in server.invocations(LED)}
        assert causes == {("hit", f"leader {LEADING}")}
        assert seen[ALONE] == 0
        assert idle(server, ALONE) == 0


def test_a_false_alarm_is_released(
    recorded: Callable[..., Any],
):
    with recorded() as server:
        eventually(lambda: known(server), what="what was learned before")
        spike(server, LEADING, SPIKE)
        eventually(lambda: idle(server, LED), what="its sandboxes")
        # It does not come this time.
        eventually(lambda: not idle(server, LED), within=20, what="none of them any more")
        spike(server, LED, LED_SPIKE)
        assert "prewarmed" not in starts(server, LED, LED_SPIKE)


def test_with_foresight_off_the_same_spikes_start_cold(recorded: Callable[..., Any]):
    with recorded(FORERUN_FORESIGHT_ENABLED="false") as server:
        spike(server, LEADING, SPIKE)
        time.sleep(LAG_S - 0.5)
        assert idle(server, LED) == 0
        spike(server, LED, LED_SPIKE)
        assert set(starts(server, LED, LED_SPIKE)) <= {"pool", "zygote", "cold"}
