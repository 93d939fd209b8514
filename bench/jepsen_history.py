"""What happened to a cluster under faults, and what of it must not have: pure. Moments are seconds of the machine's monotonic clock.

A ``History`` is what clients saw (``Sent``, ``Called``, ``Wrote``, ``Read``), what functions wrote themselves into a file that the platform has
no part in (``Ran``), and what was done to the cluster (``Fault``). ``check`` names what it must not show:

- ``lost``: an accepted event that never ran to its end;
- ``overlap``: two executions of one event at once;
- ``twice``: a synchronous call that ran twice, or ran though it was refused;
- ``limit``: more executions at once than a limit allows;
- ``back``: a read of the configuration that is older than a write acknowledged, or than what anybody had read, before it began;
- ``future``: a read of what nobody had written yet;
- ``late``: a call that was not answered within its deadline.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["done", "refused", "failed", "unknown"]
"""``refused``: it surely did not run; ``failed``: an error was answered; ``unknown``: nothing was answered."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """An event. It is accepted if its outcome is ``done``."""

    token: str
    plane: str
    began: float
    ended: float
    outcome: Outcome
    told: str = ""


@dataclass(frozen=True, kw_only=True)
class Called:
    """A synchronous call, to be answered until ``deadline``."""

    token: str
    plane: str
    began: float
    ended: float
    deadline: float
    outcome: Outcome
    told: str = ""


@dataclass(frozen=True, kw_only=True)
class Wrote:
    """A write of the configuration: later ones have greater values, and each is made only over what its writer had read."""

    value: int
    plane: str
    began: float
    ended: float
    outcome: Outcome
    told: str = ""


@dataclass(frozen=True, kw_only=True)
class Read:
    """A read of the configuration that was answered; ``way`` says how."""

    value: int
    client: str
    plane: str
    way: str
    began: float
    ended: float


@dataclass(kw_only=True)
class Ran:
    """One execution, as its function says: it went on at least until ``seen``, and to its end if ``ended``."""

    token: str
    function: str
    execution: str
    began: float
    seen: float
    ended: bool = False


@dataclass(frozen=True, kw_only=True)
class Fault:
    """``silences`` are control planes that cannot be expected to answer meanwhile."""

    kind: str
    what: str
    began: float
    ended: float
    silences: tuple[str, ...] = ()


@dataclass(kw_only=True)
class History:
    """``limits`` is how many executions of a group of functions may run at once, by the group's name; ``groups`` is each function's."""

    sent: list[Sent] = field(default_factory=list)
    called: list[Called] = field(default_factory=list)
    wrote: list[Wrote] = field(default_factory=list)
    read: list[Read] = field(default_factory=list)
    ran: list[Ran] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """``part`` is what of the history shows it."""

    kind: str
    text: str
    part: tuple[Any, ...]


def check(history: History) -> list[Finding]:
    """What must not be; nothing when all is well."""
    found = [*_lost(history), *_overlaps(history), *_twice(history), *_above(history)]
    return [*found, *_back(history), *_late(history)]


def _by_token(ran: Iterable[Ran]) -> Mapping[str, list[Ran]]:
    found: defaultdict[str, list[Ran]] = defaultdict(list)
    for each in sorted(ran, key=lambda each: each.began):
        found[each.token].append(each)
    return found


def _lost(history: History) -> Iterator[Finding]:
    ran = _by_token(history.ran)
    for sent in history.sent:
        if sent.outcome == "done":
            executions = ran.get(sent.token, [])
            if not any(each.ended for each in executions):
                text = f"{sent.token} was accepted and never ran to its end"
                yield Finding("lost", text, (sent, *executions))


def _overlaps(history: History) -> Iterator[Finding]:
    events = {sent.token for sent in history.sent}
    for token, executions in _by_token(history.ran).items():
        if token not in events:
            continue
        last = executions[0]
        for each in executions[1:]:
            if each.began < last.seen:
                text = f"{token} ran twice at once for {last.seen - each.began:.3f} s at least"
                yield Finding("overlap", text, (last, each))
            last = max(last, each, key=lambda run: run.seen)


def _twice(history: History) -> Iterator[Finding]:
    ran = _by_token(history.ran)
    for called in history.called:
        executions = ran.get(called.token, [])
        if len(executions) > 1:
            yield Finding("twice", f"{called.token} ran more than once", (called, *executions))
        elif executions and called.outcome == "refused":
            yield Finding("twice", f"{called.token} was refused and ran", (called, *executions))
        elif called.outcome == "done" and not executions:
            yield Finding("lost", f"{called.token} was answered and did not run", (called,))


def _above(history: History) -> Iterator[Finding]:
    for group, most in history.limits.items():
        runs = _of_group(history, group)
        # Of what ends and begins at the same moment, the end is first.
        moments = [(each.began, 1, number) for number, each in enumerate(runs)]
        moments += [(each.seen, 0, number) for number, each in enumerate(runs)]
        running: set[int] = set()
        above = False
        for _, begins, number in sorted(moments):
            (running.add if begins else running.discard)(number)
            if len(running) > most and not above:
                text = f"{len(running)} of {group} ran at once, {most} may"
                yield Finding("limit", text, tuple(runs[each] for each in sorted(running)))
            above = len(running) > most


def _of_group(history: History, group: str) -> list[Ran]:
    """Without those of which nothing but their begin was seen: how long they were there is not known."""
    return [
        each
        for each in history.ran
        if history.groups.get(each.function) == group and each.seen > each.began
    ]


def _back(history: History) -> Iterator[Finding]:
    """Writes and reads in the order in which they ended, reads as they began: each must see what was over by then."""
    over: list[tuple[float, int, Wrote | Read]] = [
        (wrote.ended, wrote.value, wrote) for wrote in history.wrote if wrote.outcome == "done"
    ]
    over += [(read.ended, read.value, read) for read in history.read]
    over.sort(key=lambda each: each[:2])
    begun = sorted(history.wrote, key=lambda wrote: wrote.began)
    newest: Wrote | Read | None = None
    latest = 0
    position = asked = 0
    for read in sorted(history.read, key=lambda read: read.began):
        while position < len(over) and over[position][0] < read.began:
            _, value, each = over[position]
            if newest is None or value > newest.value:
                newest = each
            position += 1
        if newest is not None and read.value < newest.value:
            text = f"{read.client} read {read.value} by {read.way}, when {newest.value} was there"
            yield Finding("back", text, (newest, read))
        while asked < len(begun) and begun[asked].began < read.ended:
            latest = max(latest, begun[asked].value)
            asked += 1
        if read.value > latest:
            text = f"{read.client} read {read.value}, which nobody had written"
            yield Finding("future", text, (read,))


def _late(history: History) -> Iterator[Finding]:
    for called in history.called:
        if called.ended <= called.deadline and called.outcome != "unknown":
            continue
        if not any(
            called.plane in fault.silences
            and fault.began <= called.ended
            and called.began <= fault.ended
            for fault in history.faults
        ):
            text = f"{called.token} was not answered by {called.plane} in time: {called.told}"
            yield Finding("late", text, (called,))


# -- what functions write, and how it is kept ------------------------------------------------------------------------


def runs_of(lines: Iterable[str]) -> list[Ran]:
    """Executions from lines ``WHAT FUNCTION TOKEN EXECUTION MOMENT``, with ``begin``, ``still`` or ``end`` for what."""
    found: dict[str, Ran] = {}
    for line in lines:
        what, function, token, execution, moment = line.split()
        at = float(moment)
        if what == "begin":
            found[execution] = Ran(
                token=token, function=function, execution=execution, began=at, seen=at
            )
        else:
            run = found[execution]
            run.seen = at
            run.ended = what == "end"
    return list(found.values())


_KINDS: dict[str, Callable[..., Any]] = {
    "sent": Sent,
    "called": Called,
    "wrote": Wrote,
    "read": Read,
    "ran": Ran,
    "faults": Fault,
}


def save(history: History, path: Path) -> None:
    """As lines of JSON, in the order of time."""
    lines: list[tuple[float, dict[str, Any]]] = [
        (each.began, {"entry": kind, **asdict(each)})
        for kind in _KINDS
        for each in getattr(history, kind)
    ]
    lines.sort(key=lambda line: line[0])
    head = {"entry": "limits", "limits": history.limits, "groups": history.groups}
    with path.open("w") as out:
        for line in (head, *(line for _, line in lines)):
            out.write(json.dumps(line) + "\n")


def load(path: Path) -> History:
    """What ``save`` wrote."""
    history = History()
    for text in path.read_text().splitlines():
        line = json.loads(text)
        kind = line.pop("entry")
        if kind == "limits":
            history.limits, history.groups = line["limits"], line["groups"]
        else:
            if kind == "faults":
                line["silences"] = tuple(line["silences"])
            getattr(history, kind).append(_KINDS[kind](**line))
    return history


def summary(history: History) -> dict[str, Any]:
    """How much there was to check."""

    def outcomes(operations: Sequence[Any]) -> dict[str, int]:
        found: defaultdict[str, int] = defaultdict(int)
        for each in operations:
            found[each.outcome] += 1
        return dict(found)

    return {
        "events": outcomes(history.sent),
        "calls": outcomes(history.called),
        "writes": outcomes(history.wrote),
        "reads": len(history.read),
        "executions": len(history.ran),
        "unfinished": sum(not each.ended for each in history.ran),
        "most_at_once": {group: most_at_once(history, group) for group in history.limits},
        "faults": len(history.faults),
    }


def most_at_once(history: History, group: str) -> int:
    """How many executions of a group were seen at once."""
    runs = _of_group(history, group)
    moments = sorted([(each.began, 1) for each in runs] + [(each.seen, -1) for each in runs])
    most = now = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most
