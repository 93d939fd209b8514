"""A host agent with its surroundings: sandboxes that do as told, and a clock that stands still."""

import asyncio

from tests.fakes.clock import FakeClock
from tests.fakes.sandboxes import FakeSandboxes

from forerun.host import HostAgent, Run
from forerun.model import Call, Egress, LoggingConfig, SandboxSpec, Standby, Timings
from forerun.settings import HostSettings

LONG = 1000.0


def spec(key: str = "k", *, memory_mb: int = 128, handler: str = "app.handler") -> SandboxSpec:
    return SandboxSpec(
        key=key,
        account="1" * 12,
        region="us-home-1",
        name=key,
        version="$LATEST",
        function_arn=f"arn:aws:lambda:us-home-1:{'1' * 12}:function:{key}",
        runtime="python3.11",
        role="arn:aws:iam::111111111111:role/r",
        handler=handler,
        memory_mb=memory_mb,
        ephemeral_mb=512,
        timeout_s=3,
        environment={},
        code_dir="/code",
        layers_dir=None,
        egress=Egress.NONE,
        logging=LoggingConfig(group="g"),
        log_stream="",
    )


def call(request_id: str = "r") -> Call:
    return Call(request_id=request_id, payload=b"{}", invoked_arn="arn", deadline_ms=0)


class Rig:
    """An agent with its surroundings, and short ways to use it."""

    def __init__(self, **settings: float) -> None:
        self.clock = FakeClock()
        self.sandboxes = FakeSandboxes(self.clock)
        values = {"memory_mb": 1024, "pool_min": 0, "pool_max": 0, "wait_s": 10.0} | settings
        self.available_mb: int | None = 1 << 20
        self.agent = HostAgent(
            self.sandboxes,
            clock=self.clock,
            settings=HostSettings(**values),
            available_mb=lambda: self.available_mb,
        )
        self.sandboxes.on_exit = self.agent.exited
        self.tasks: list[asyncio.Task[Run]] = []

    async def run(self, key: str = "k", request_id: str = "r", **about) -> Run:
        return await self.agent.run(spec(key, **about), call(request_id), Timings())

    def begin(self, key: str, request_id: str, **about) -> asyncio.Task[Run]:
        """A call that is held until ``let`` goes."""
        self.sandboxes.gates.setdefault(request_id, asyncio.Event())
        task = asyncio.get_running_loop().create_task(self.run(key, request_id, **about))
        self.tasks.append(task)
        return task

    def let(self, request_id: str) -> None:
        self.sandboxes.gates[request_id].set()

    def states(self) -> dict[str, int]:
        return {name: count for name, count in self.agent.stats().states.items() if count}


def hold(rig: Rig, key: str = "k", *, about: dict[str, object] | None = None, **wanted) -> None:
    """Let a version stand by, for long unless said otherwise."""
    rig.agent.stand_by(spec(key, **about or {}), Standby(**{"lease_s": LONG} | wanted))


def kept(rig: Rig, key: str = "k") -> tuple[int, int]:
    """How many of a version are idle, and how many work."""
    standing = rig.agent.standing(key)
    return standing.idle, standing.working


async def finish(rig: Rig) -> None:
    for gate in rig.sandboxes.gates.values():
        gate.set()
    closing = asyncio.get_running_loop().create_task(rig.agent.close(grace_s=1.0))
    while not closing.done():
        await rig.clock.advance(0.5)
    await closing
    await asyncio.gather(*rig.tasks, return_exceptions=True)
    assert rig.sandboxes.closed
    assert rig.agent.stats().booked_mb == 0
    assert rig.states() == {}
