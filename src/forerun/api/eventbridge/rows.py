"""Rules that wait for events as lines of ``GET /forerun/sources``."""

from collections.abc import Mapping, Sequence
from typing import Any

from forerun.api.sources import Rows
from forerun.sources.buses import Place, Rules

MOST = 1000


def rule_rows(rules: Rules, region: str) -> Rows:
    """One row for each target of a rule, the first thousand by bus and rule; ``Pattern`` is what the rule wants."""

    async def found(account: str) -> Sequence[Mapping[str, Any]]:
        place = Place(region, account)
        return [
            {
                "Source": place.bus_arn(rule.bus),
                "Kind": "rule",
                "Id": rule.name,
                "State": rule.config.state,
                "Pattern": rule.config.pattern,
                **(
                    {"Target": target.arn}
                    if target is not None
                    else {"Reason": "It has no target."}
                ),
            }
            for rule, target in await rules.waiting(account, MOST)
        ]

    return found
