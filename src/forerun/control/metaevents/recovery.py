"""Finds, at the start, what absences waited for and an earlier server had no time to write down: by stored records.

A record is written within a tenth of a second of its execution's end, by another way than what rules remember.
"""

import logging

from forerun.control.metaevents.facts import facts_of_record
from forerun.control.metaevents.rules import Rule
from forerun.errors import ForerunError
from forerun.metaevents import Fact, bind, bindings, catch_up
from forerun.model import InvocationRecord
from forerun.storage import InvocationFilter, InvocationStore

log = logging.getLogger("forerun.metaevents")

# Absences are written down within a tenth of a second: what they miss is among the last records.
MOST_RECORDS = 200
_STORED = ("execution.started", "execution.ended", "execution.throttled")


async def catch_up_with_records(rule: Rule, invocations: InvocationStore) -> None:
    """Take notice of executions since what the rule remembers. A store that refuses costs that, and is logged."""
    functions = {
        leaf.function
        for leaf in rule.criteria.leaves
        if leaf.event in _STORED and not (leaf.where and leaf.where.reads_output)
    }
    state = rule.memory.state
    since = min([*state.seen.values(), state.since]) if rule.criteria.by_time else None
    if since is None:
        return
    for function in functions:
        try:
            page = await invocations.list(
                rule.row.account,
                InvocationFilter(name=function, since=since),
                limit=MOST_RECORDS,
            )
        except ForerunError as error:
            log.warning("%s/%s may miss executions: %s", *rule.key, error.message)
            return
        for record in reversed(page.records):
            _take(rule, record)


def _take(rule: Rule, record: InvocationRecord) -> None:
    for fact in facts_of_record(record):
        catch_up(rule.criteria, rule.memory.state, fact, lambda fact=fact: _bound(fact))  # type: ignore[misc]


def _bound(fact: Fact) -> object:
    return bind(fact.kind, bindings(fact))
