"""Warming pools of the fleet, divided among hosts by size; what an account has for itself, among hosts that may run its calls.

What waits for everybody is so much for each host, as on one machine, more on larger ones; what is one account's is that much altogether.
"""

import logging
from collections.abc import Callable, Collection, Iterable

from forerun.cluster import RemoteHost
from forerun.control.fleet.dividing import by_size
from forerun.control.fleet.state import HostState
from forerun.errors import ForerunError, NoSuchRuntime
from forerun.host import check_pool
from forerun.model import WITH_SDK

log = logging.getLogger("forerun.fleet")

MOST = 1_000


class FleetPools:
    """``hosts`` are those that get calls; ``host`` gives one that is connected; ``of_account`` the hosts that may run an account's
    calls, or ``None`` for all.
    """

    def __init__(
        self,
        *,
        hosts: Callable[[], Iterable[HostState]],
        host: Callable[[str], RemoteHost | None],
        of_account: Callable[[str], Collection[str] | None],
    ) -> None:
        self._hosts = hosts
        self._host = host
        self._of_account = of_account
        self._ready: dict[str, None] = {}
        self._floors: dict[str, tuple[int, bool]] = {}
        self._told: dict[tuple[str, str], tuple[int, bool]] = {}

    def hold_ready(self, runtime: str) -> None:
        """See ``Host.hold_ready``: on every host that has the runtime."""
        if runtime in self._ready or len(self._ready) >= MOST:
            return
        self._ready[runtime] = None
        for state in self._hosts():
            self._make_ready(state, runtime)

    def hold_pool(self, pool: str, floor: int, *, borrow: bool) -> None:
        """See ``Host.hold_pool``."""
        runtime = check_pool(pool, floor)
        states = list(self._hosts())
        if states and not any(runtime in state.runtimes for state in states):
            raise NoSuchRuntime(f"no host of the cluster has an interpreter for {runtime}")
        if pool in self._floors or len(self._floors) < MOST:
            self._floors[pool] = (floor, borrow)
            self._divide(pool, states)

    def came(self, name: str) -> None:
        """A host came, or came back: it was told nothing yet."""
        self._forget(name)
        states = list(self._hosts())
        for state in states:
            if state.name == name:
                for runtime in self._ready:
                    self._make_ready(state, runtime)
        self._divide_all(states)

    def left(self, name: str) -> None:
        """A host gets no calls any more: its part is held by others."""
        self._forget(name)
        self._divide_all(list(self._hosts()))

    def turn(self) -> None:
        """From time to time: which hosts may run an account's calls changes."""
        states = list(self._hosts())
        for pool in [pool for pool in self._floors if "@" in pool]:
            self._divide(pool, states)

    def _forget(self, name: str) -> None:
        for told in [told for told in self._told if told[0] == name]:
            del self._told[told]

    def _divide_all(self, states: list[HostState]) -> None:
        for pool in list(self._floors):
            self._divide(pool, states)

    def _divide(self, pool: str, states: list[HostState]) -> None:
        floor, borrow = self._floors[pool]
        runtime = pool.partition("@")[0].partition("+")[0]
        sizes = {state.name: state.memory_mb for state in states if runtime in state.runtimes}
        account = pool.partition("@")[2]
        allowed = self._of_account(account) if account else None
        chosen = {name: size for name, size in sizes.items() if allowed is None or name in allowed}
        total = floor if account else floor * len(sizes)
        parts = dict.fromkeys(sizes, 0) | by_size(total, chosen or sizes)
        for name, part in parts.items():
            told = self._told.get((name, pool))
            if told == (part, borrow) or (told is None and not part and account):
                continue
            host = self._host(name)
            if host is None:
                continue
            self._told[name, pool] = (part, borrow)
            try:
                host.hold_pool(pool, part, borrow=borrow)
            except ForerunError as error:
                log.warning("%s cannot hold the pool %s: %s", name, pool, error.message)
        if not floor and account:
            del self._floors[pool]

    def _make_ready(self, state: HostState, runtime: str) -> None:
        host = self._host(state.name)
        if host is not None and runtime.removesuffix(WITH_SDK) in state.runtimes:
            host.hold_ready(runtime)
