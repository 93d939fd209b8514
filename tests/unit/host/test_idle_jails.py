"""With real sandboxes: far more functions stay warm than could work at once."""

from pathlib import Path

import pytest
from tests.sandbox.makers import RUNTIME, make_call, make_spec, write_code

from forerun.aio import SystemClock
from forerun.host import HostAgent, Run
from forerun.model import StartType, Timings
from forerun.sandbox import JailSandboxes, JailSettings, own_interpreter
from forerun.settings import HostSettings

pytestmark = [pytest.mark.root, pytest.mark.slow]

COUNT, MEMORY_MB = 60, 2048
HELLO = "def handler(event, context):\n    return 'hello'\n"


async def test_more_stay_warm_than_could_work_at_once(tmp_path: Path) -> None:
    code = write_code(tmp_path / "code", HELLO)
    jails = JailSandboxes(
        JailSettings(data_dir=tmp_path / "data", interpreters={RUNTIME: own_interpreter()})
    )
    agent = HostAgent(
        jails,
        clock=SystemClock(),
        settings=HostSettings(memory_mb=MEMORY_MB, pool_min=0, pool_max=0, machine_floor_percent=0),
    )

    async def run(number: int) -> Run:
        spec = make_spec(code, key=f"f{number}", name=f"f{number}", memory_mb=128)
        run = await agent.run(spec, make_call(), Timings())
        assert run.outcome.error is None, run.outcome
        assert agent.stats().booked_mb <= MEMORY_MB
        return run

    await agent.start()
    try:
        first = [await run(number) for number in range(COUNT)]
        stats = agent.stats()
        assert (stats.states["idle"], stats.destroyed) == (COUNT, 0)
        second = [await run(number) for number in range(COUNT)]
        assert {each.start_type for each in second} == {StartType.WARM}
        assert [each.sandbox_id for each in second] == [each.sandbox_id for each in first]
    finally:
        await agent.close(grace_s=1)
