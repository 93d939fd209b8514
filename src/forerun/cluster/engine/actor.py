"""The actor that keeps an agent: one on each member, restarted by the engine; the agent itself is no child of it."""

from forerun.aio import SystemClock, TaskOwner
from forerun.cluster.engine.node import keeper_directory
from forerun.cluster.engine.wire import encode
from forerun.cluster.keeper import AgentPlan, Keeper
from forerun.settings import Settings


class AgentKeeper:
    """Runs the keeper of its machine, which finds its plan in the data directory that the node was started with."""

    def __init__(self) -> None:
        directory = keeper_directory(Settings.load().server.data_dir)
        self._keeper = Keeper(directory, AgentPlan.load(directory), SystemClock())
        self._owner = TaskOwner("keeper")
        self._begun = False

    async def report(self) -> bytes:
        """How the agent is: ``Kept`` as JSON. The first call begins to keep it."""
        if not self._begun:
            self._begun = True
            self._owner.spawn(self._keeper.run(), name="run")
        return encode(self._keeper.report())

    async def end(self, grace_s: float) -> None:
        """End the agent for good."""
        await self._keeper.end(grace_s)
