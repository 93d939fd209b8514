"""Whether an execution under an identifier may begin: how often it succeeded, and how many are going on. Pure."""

from enum import Enum, auto

import msgspec

from forerun.storage.once import Result


class Verdict(Enum):
    """``RUN`` now, and say how it ended; ``ANSWER`` with the result that there is; ``WAIT`` for one that runs."""

    RUN = auto()
    ANSWER = auto()
    WAIT = auto()


class Standing(msgspec.Struct, kw_only=True):
    """One identifier: its successes until ``expires_at``, the last one's ``result``, and how many run. Epoch seconds.

    Successes and those that run are never more than the limit; who waits waits for one that runs.
    """

    successes: int = 0
    running: int = 0
    expires_at: float = 0.0
    result: Result | None = None

    def claim(self, limit: int, now: float) -> Verdict:
        """What one more may do; with ``RUN`` it counts as running from here on."""
        if self.result is not None and self.expires_at <= now:
            self.successes, self.result = 0, None
        if self.result is not None and self.successes >= limit:
            return Verdict.ANSWER
        if self.successes + self.running < limit:
            self.running += 1
            return Verdict.RUN
        return Verdict.WAIT

    def succeeded(self, result: Result, expires_at: float) -> None:
        """One that ran has succeeded, at ``result.at``."""
        if self.result is not None and self.expires_at <= result.at:
            self.successes = 0
        self.running -= 1
        self.successes += 1
        self.result, self.expires_at = result, expires_at

    def ended(self) -> None:
        """One that ran has failed, or was not run after all: another may."""
        self.running -= 1
