"""A recording played live and in the simulator: as many calls have to wait for a start."""

from collections import Counter
from pathlib import Path

import pytest
from bench.live_calls import Played, compared, costs, deploy, play
from tests.servers import ROLE, running

from forerun.prediction.replay import About, ByCalls, Call
from forerun.settings import HostSettings

pytestmark = pytest.mark.slow

# Sandboxes that nobody is expected to call go within the test.
HOST = HostSettings(keep_alive_min_s=3.0, keep_alive_max_s=6.0)
SETTINGS = {
    "FORERUN_HOST_KEEP_ALIVE_MIN_S": str(HOST.keep_alive_min_s),
    "FORERUN_HOST_KEEP_ALIVE_MAX_S": str(HOST.keep_alive_max_s),
}
END_S = 33.0


def every(period_s: float, seconds: float, place: int, at_once: int = 1) -> list[Call]:
    """Calls at a regular distance, some at once."""
    count = int((END_S - place) / period_s) + 1
    return [
        Call(place + number * period_s, seconds, place)
        for number in range(count)
        for _ in range(at_once)
    ]


def made() -> ByCalls:
    """One function at regular times, one in bursts, one that is called rarely, one that is called all the time, one with calls
    that overlap.
    """
    calls = [
        *every(4.0, 0.05, 0),
        *every(10.0, 1.5, 1, at_once=4),
        *every(13.0, 0.2, 2),
        *every(0.7, 0.01, 3),
        *every(2.6, 3.2, 4),
    ]
    return ByCalls(
        [About(f"replayed-{place}") for place in range(5)], sorted(calls), Counter[str]()
    )


def failed(played: list[Played]) -> list[str]:
    return [each.error for each in played if each.error]


@pytest.mark.soak
def test_cold_starts_are_as_many_as_the_simulator_says(tmp_path: Path) -> None:
    recording = made()
    with running(tmp_path / "data", settings=SETTINGS) as server:
        deploy(
            server.lambda_,
            ROLE.format(account=server.account),
            count=len(recording.functions),
            seed=1,
        )
        played = play(recording, server.endpoint, server.environment(tmp_path))
        assert not failed(played)
        functions = costs(server.platform, recording.functions, played[0].at)
        assert all(each.start_ms > 50.0 for each in functions)
        found = compared(recording, played, functions, server.platform, HOST)
    live, simulated = found["cold_starts"]["live"], found["cold_starts"]["simulated"]
    assert live > len(functions), "some come after their sandbox has gone"
    assert live < len(played) / 2, "many find one"
    assert abs(simulated - live) <= max(2, live / 10), found
