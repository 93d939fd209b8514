"""Schedule expressions as AWS writes them: ``at(...)``, ``rate(...)`` and ``cron(...)``, in a time zone. Pure.

Moments are epoch seconds. Where clocks are put forward, local times of a cron expression that do not exist are left out;
where they are put back, a local time that comes twice counts the first time. ``at`` takes the moment after the gap.
"""

import re
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

from forerun.errors import InvalidInput
from forerun.scheduling.cron import FIRST_YEAR, LAST_YEAR, Cron, parse_cron

EXPRESSION_CHARS = 256
_FORM = re.compile(r"(at|rate|cron)\((.*)\)")
_AT = re.compile(r"(\d{4})-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)
_RATE = re.compile(r"([1-9]\d{0,8}) (minute|hour|day)(s?)", re.ASCII)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}")
_UNITS_S = {"minute": 60, "hour": 3600, "day": 86_400}
_FIRST = datetime(FIRST_YEAR, 1, 2, tzinfo=UTC).timestamp()
_LAST = datetime(LAST_YEAR, 12, 30, tzinfo=UTC).timestamp()
_SPANS_S = (3600, 86_400, 31 * 86_400, 366 * 86_400)


class Schedule(Protocol):
    """Moments in order, without end or with one."""

    def next_after(self, moment: float) -> float | None:
        """The first one later than ``moment``; ``None`` when there is none any more."""
        ...


class At(NamedTuple):
    """Once."""

    at: float

    def next_after(self, moment: float) -> float | None:
        """See ``Schedule``."""
        return self.at if self.at > moment else None


class Rate(NamedTuple):
    """Every ``every_s`` seconds, counted from ``since``, which is not one of them."""

    every_s: int
    since: float

    def next_after(self, moment: float) -> float | None:
        """See ``Schedule``."""
        passed = max(0, int((moment - self.since) // self.every_s))
        return self.since + (passed + 1) * self.every_s


class Calendar(NamedTuple):
    """A cron expression in a time zone."""

    cron: Cron
    zone: tzinfo

    def next_after(self, moment: float) -> float | None:
        """See ``Schedule``."""
        if moment >= _LAST:
            return None
        begin = datetime.fromtimestamp(max(moment, _FIRST), self.zone).replace(tzinfo=UTC)
        for local in self.cron.times(begin.replace(second=0, microsecond=0)):
            at = local.replace(tzinfo=self.zone).timestamp()
            exists = datetime.fromtimestamp(at, self.zone).replace(tzinfo=UTC) == local
            if exists and at > moment:
                return at
        return None


def parse_schedule(expression: str, zone: str = "UTC", *, since: float = 0.0) -> Schedule:
    """Read an expression; a rate counts from ``since``.

    Raises ``InvalidInput`` for what is no expression, or no time zone of the IANA database.
    """
    if len(expression) > EXPRESSION_CHARS:
        raise InvalidInput(f"a schedule expression has at most {EXPRESSION_CHARS} characters")
    place = parse_zone(zone)
    found = _FORM.fullmatch(expression.strip())
    if found is None:
        raise InvalidInput(
            f"{expression!r} is no schedule; write at(yyyy-mm-ddThh:mm:ss), rate(value unit) or cron(fields)"
        )
    kind, body = found.groups()
    if kind == "cron":
        return Calendar(parse_cron(body), place)
    return _rate(body, since) if kind == "rate" else _once(body, place)


def parse_zone(name: str) -> tzinfo:
    """A time zone by its name in the IANA database; ``InvalidInput`` when it has none of that name."""
    if name == "UTC":
        return UTC
    try:
        if _ZONE.fullmatch(name):
            return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        pass
    raise InvalidInput(f"{name!r} is no time zone; give one as Europe/Berlin or UTC")


def latest_due(schedule: Schedule, after: float, until: float) -> float | None:
    """The last moment of a schedule that is later than ``after`` and not later than ``until``."""
    first = schedule.next_after(after)
    if first is None or first > until:
        return None
    if isinstance(schedule, Rate):
        return first + (until - first) // schedule.every_s * schedule.every_s
    # Backwards in widening steps, so that what comes every minute is not walked through for a year.
    found: float | None = None
    for span in _SPANS_S:
        found = schedule.next_after(max(after, until - span))
        if found is not None and found <= until:
            break
    else:
        found = first
    while (later := schedule.next_after(found)) is not None and later <= until:
        found = later
    return found


def _rate(body: str, since: float) -> Rate:
    found = _RATE.fullmatch(body)
    if found is None or (found[1] == "1") == bool(found[3]):
        raise InvalidInput(
            f"rate({body}) is not acceptable: write a number and minutes, hours or days, and rate(1 minute) for one"
        )
    return Rate(int(found[1]) * _UNITS_S[found[2]], since)


def _once(body: str, zone: tzinfo) -> At:
    found = _AT.fullmatch(body)
    if found is not None and FIRST_YEAR <= int(found[1]) <= LAST_YEAR:
        try:
            moment = datetime.fromisoformat(body).replace(tzinfo=zone)
        except ValueError:
            pass
        else:
            return At(moment.timestamp())
    raise InvalidInput(f"at({body}) is no moment; write at(yyyy-mm-ddThh:mm:ss)")
