"""Which services functions call and what their starts take, remembered for placement: what is asked for each call is one look-up, what is read is read behind it."""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence

import msgspec

from forerun.aio import Clock
from forerun.control.fleet.contract import NO_HABITS
from forerun.errors import ForerunError
from forerun.model import Egress, Habits, Likely, SandboxSpec

log = logging.getLogger("forerun.fleet")

MOST_REMEMBERED = 10_000
MOST_WATCHED = 100
READ_AT_ONCE = 500
TURN_S = 1.0
REFRESH_S = 15.0
FORGET_S = 600.0
TELL_S = 20.0

Version = tuple[str, str, str]
Read = Callable[[str, str, str], Awaitable[Habits]]


class _Known(msgspec.Struct):
    """What is known of a version: as of ``read_at``, asked for last in the turn at ``asked_at``; ``asked`` since that turn."""

    habits: Habits = NO_HABITS
    open: bool = False
    asked: bool = True
    asked_at: float = 0.0
    read_at: float = -REFRESH_S


class LikelyServices:
    """Implements ``Services``. ``read`` has the habits of account, function and version from its profile.

    Of a version that is asked for the first time nothing is known until the next turn, a second later; as long as it is asked for, it is
    read again each ``REFRESH_S``. ``tell`` hears which services' paths are worth measuring, when that changes and each ``TELL_S``.
    """

    def __init__(
        self,
        read: Read,
        clock: Clock,
        *,
        likelihood: float,
        min_executions: int,
        tell: Callable[[Sequence[str]], None],
    ) -> None:
        self._read = read
        self._clock = clock
        self._likelihood = likelihood
        self._min_executions = min_executions
        self._tell = tell
        self._told: list[str] = []
        self._told_at = -TELL_S
        self._known: OrderedDict[Version, _Known] = OrderedDict()

    def habits(self, spec: SandboxSpec) -> Habits:
        """See ``Services``."""
        version = spec.account, spec.name, spec.version
        known = self._known.get(version)
        if known is None:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.popitem(last=False)
            known = self._known[version] = _Known(asked_at=self._clock.monotonic())
        known.asked = True
        known.open = spec.egress is Egress.OPEN
        return known.habits

    async def run(self) -> None:
        """Read what is due, and tell what to measure, a turn each ``TURN_S``; never returns."""
        while True:
            try:
                await self.turn()
            except ForerunError as error:
                log.warning(
                    "profiles cannot be read: %s; placement goes on with what it knows", error
                )
            await self._clock.sleep(TURN_S)

    async def turn(self) -> None:
        """One turn. Raises what ``read`` raises; the next one goes on from there."""
        now = self._clock.monotonic()
        due = self._due(now)
        for version in due:
            habits = await self._read(*version)
            known = self._known.get(version)
            if known is not None:
                known.habits, known.read_at = habits, now
        if due or now - self._told_at >= TELL_S:
            watched = self.watched()
            if watched != self._told or now - self._told_at >= TELL_S:
                self._told, self._told_at = watched, now
                self._tell(watched)

    def _due(self, now: float) -> list[Version]:
        found: list[Version] = []
        for version, known in list(self._known.items()):
            if known.asked:
                known.asked, known.asked_at = False, now
                self._known.move_to_end(version)
            elif now - known.asked_at > FORGET_S:
                del self._known[version]
                continue
            elif known.read_at >= known.asked_at:
                # Not asked for since it was read: it is read when it is.
                continue
            if now - known.read_at >= REFRESH_S and len(found) < READ_AT_ONCE:
                found.append(version)
        return found

    def watched(self) -> list[str]:
        """The services whose paths placement may need, at most ``MOST_WATCHED``, likeliest first and each account as many as any other.

        Only those that functions with open egress call, which reach them themselves; and often enough that it counts.
        """
        by_account: dict[str, dict[str, float]] = {}
        for (account, _, _), known in self._known.items():
            if not known.open:
                continue
            services = by_account.setdefault(account, {})
            for likely in known.habits.services:
                if self._counts(likely):
                    before = services.get(likely.service, 0.0)
                    services[likely.service] = max(before, likely.likelihood * likely.calls)
        return _in_turns(
            [
                sorted(services, key=lambda each: (-services[each], each))
                for _, services in sorted(by_account.items())
            ]
        )

    def _counts(self, likely: Likely) -> bool:
        return likely.likelihood >= self._likelihood and likely.executions >= self._min_executions


def _in_turns(lists: Iterable[Sequence[str]]) -> list[str]:
    """The first of each, the second of each, and so on; none twice."""
    found: dict[str, None] = {}
    left = [each for each in lists if each]
    place = 0
    while left and len(found) < MOST_WATCHED:
        for each in left:
            if len(found) < MOST_WATCHED:
                found[each[place]] = None
        place += 1
        left = [each for each in left if len(each) > place]
    return list(found)
