"""One queue as it lives in memory: its settings, who waits at it, and its counters."""

import math
from collections.abc import Callable

import msgspec

from forerun.model import Arn
from forerun.sources.queues.attributes import QueueSettings, settings_of
from forerun.sources.queues.line import Line
from forerun.storage.queues import QueueRecord

FADE_S = 10.0


class Rate:
    """How many a second, of late: what happened fades within half a minute. Seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self._weight = 0.0
        self._at = 0.0

    def count(self, now: float, amount: int) -> None:
        """So many happened."""
        self._weight = self._faded(now) + amount
        self._at = now

    def per_second(self, now: float) -> float:
        """The rate now."""
        return self._faded(now) / FADE_S

    def _faded(self, now: float) -> float:
        return self._weight * math.exp((self._at - now) / FADE_S) if self._weight else 0.0


class Tally(msgspec.Struct):
    """What became of messages since the server started; ``received`` counts each taking.

    ``rate`` is that of ``received``. ``expired``: kept for as long as the queue keeps messages, and removed. ``given_up``: moved to the dead-letter queue.
    """

    sent: int = 0
    received: int = 0
    deleted: int = 0
    expired: int = 0
    given_up: int = 0
    rate: Rate = msgspec.field(default_factory=Rate)


class Queue:
    """A queue. ``total`` is how many messages it has, whatever their state."""

    def __init__(self, record: QueueRecord, region: str, total: int = 0) -> None:
        self.arn = queue_arn(region, record.account, record.name)
        self.line = Line()
        self.tally = Tally()
        self.total = total
        self.gone = False
        self.become(record)

    def become(self, record: QueueRecord) -> None:
        """It was changed."""
        self.record = record
        self.settings: QueueSettings = settings_of(record.attributes)

    @property
    def id(self) -> int:
        """What its messages are kept under."""
        return self.record.id

    @property
    def key(self) -> int:
        """What its receipts name it by; the same after a purge."""
        return int(self.record.created_at * 1_000_000)


class Numbers:
    """Numbers for messages and queues: unique, growing, and about microseconds since the epoch."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._last = 0

    def begin(self, last: int) -> None:
        """Go on after ``last``."""
        self._last = max(self._last, last)

    def next(self) -> int:
        """The next one."""
        self._last = max(self._last + 1, int(self._now() * 1_000_000))
        return self._last


def queue_arn(region: str, account: str, name: str) -> str:
    """``arn:aws:sqs:REGION:ACCOUNT:NAME``."""
    return f"arn:aws:sqs:{region}:{account}:{name}"


def parse_arn(arn: str) -> tuple[str, str, str]:
    """Region, account and name of a queue; ``InvalidInput`` when the text is no ARN."""
    parsed = Arn.parse(arn)
    return parsed.region, parsed.account, parsed.resource
