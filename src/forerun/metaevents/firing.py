"""Whether a rule whose criteria came to hold may run its job: cooldown, the length of the chain, and how often."""

import msgspec

from forerun.metaevents.criteria import span

MINUTE = 60.0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Metaevents in one chain, and jobs in a minute: of one rule and of all rules of an account."""

    depth: int
    rule_per_minute: float
    account_per_minute: float


class Allowance(msgspec.Struct, array_like=True):
    """Jobs that may still be run at ``at`` (epoch seconds); it fills up by so many a minute."""

    left: float
    at: float

    def look(self, per_minute: float, now: float) -> bool:
        """Whether one may be run now."""
        self.left = min(per_minute, self.left + max(0.0, now - self.at) * per_minute / MINUTE)
        self.at = now
        return self.left >= 1.0

    def take(self) -> None:
        """One is run."""
        self.left -= 1.0


def refusal(
    limits: Limits,
    *,
    chain: tuple[str, ...],
    cooling_s: float,
    rule: Allowance,
    account: Allowance,
    now: float,
) -> str:
    """Why the job may not be run, in words; empty when it may, and then it is counted.

    ``chain`` are the metaevents that led here, ``cooling_s`` the seconds that the rule's cooldown still lasts.
    """
    if cooling_s > 0:
        return f"its cooldown lasts {span(round(cooling_s, 1))} more"
    if len(chain) >= limits.depth:
        return f"its chain would have more than {limits.depth} metaevents: {' / '.join(chain)}"
    if not rule.look(limits.rule_per_minute, now):
        return f"it ran {limits.rule_per_minute:g} jobs within a minute already"
    if not account.look(limits.account_per_minute, now):
        return f"the account's rules ran {limits.account_per_minute:g} jobs within a minute already"
    rule.take()
    account.take()
    return ""
