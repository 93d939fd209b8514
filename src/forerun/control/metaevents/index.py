"""Finds the rules that an event concerns, by its kind and function; and says what must be watched for them."""

from collections.abc import Iterator

from forerun.control.metaevents.rules import Key, Rule
from forerun.events import Watch, Watched
from forerun.metaevents import Fact, Leaf
from forerun.model import parse_function_ref

HOST = "host.changed"
EXECUTION = "execution."


class Index:
    """Rules that are enabled."""

    def __init__(self) -> None:
        self._rules: dict[Key, Rule] = {}
        self._of: dict[tuple[str, str, str], list[Rule]] = {}

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules.values())

    def put(self, rule: Rule) -> None:
        """Find it from now on, in place of an older one of its name."""
        self.remove(rule.key)
        self._rules[rule.key] = rule
        for place in _places(rule):
            self._of.setdefault(place, []).append(rule)

    def remove(self, key: Key) -> None:
        """Find it no more."""
        rule = self._rules.pop(key, None)
        for place in _places(rule) if rule else ():
            left = [each for each in self._of[place] if each is not rule]
            if left:
                self._of[place] = left
            else:
                del self._of[place]

    def concerned(self, fact: Fact) -> list[Rule]:
        """The rules that look for this kind, of this function or of any."""
        any_function = self._of.get((fact.account, fact.kind, ""), [])
        if not fact.function:
            return any_function
        own = self._of.get((fact.account, fact.kind, fact.function), [])
        if not own or not any_function:
            return own or any_function
        return list(dict.fromkeys((*own, *any_function)))

    def wants(self, kind: str) -> set[str]:
        """Accounts with a rule that looks for this kind; the empty one for what belongs to none."""
        return {account for account, each, _ in self._of if each == kind}

    def watched(self) -> Watched:
        """Whose executions must be told: those that rules look for, and those of jobs, so that chains are known."""
        functions: dict[tuple[str, str], Watch] = {}
        accounts: dict[str, Watch] = {}
        for rule in self._rules.values():
            account = rule.row.account
            job = parse_function_ref(rule.definition.job).name
            functions.setdefault((account, job), Watch.METADATA)
            for leaf in rule.criteria.leaves:
                if not leaf.event.startswith(EXECUTION):
                    continue
                wanted = _wanted(leaf)
                if leaf.function:
                    key = account, leaf.function
                    functions[key] = max(functions.get(key, Watch.NOTHING), wanted)
                else:
                    accounts[account] = max(accounts.get(account, Watch.NOTHING), wanted)
        return Watched(functions, accounts)


def _wanted(leaf: Leaf) -> Watch:
    return Watch.OUTPUT if leaf.where is not None and leaf.where.reads_output else Watch.METADATA


def _places(rule: Rule) -> set[tuple[str, str, str]]:
    return {
        ("" if leaf.event == HOST else rule.row.account, leaf.event, leaf.function)
        for leaf in rule.criteria.leaves
    }
