"""Listens to the bus and to the clock: asks the rules that are concerned, and raises their metaevents."""

from collections.abc import Callable
from typing import NamedTuple

from forerun.aio import Clock, TaskOwner
from forerun.control.metaevents.chains import Chain, Chains
from forerun.control.metaevents.facts import fact_of
from forerun.control.metaevents.index import Index
from forerun.control.metaevents.jobs import Jobs, Raised
from forerun.control.metaevents.notebook import Notebook
from forerun.control.metaevents.rules import Evaluation, Job, Key, Rule
from forerun.control.monitoring import Monitor
from forerun.events import (
    Bus,
    ExecutionSeen,
    ExecutionStarted,
    Listener,
    MetaeventRaised,
    Notice,
)
from forerun.metaevents import (
    Allowance,
    Bound,
    Fact,
    Judgement,
    Limits,
    advance,
    bind,
    bindings,
    next_moment,
    observe,
    refusal,
)
from forerun.model import Origin
from forerun.sources import Outbox, Timetable
from forerun.traces import NOTHING

GATHER_S = 0.01
BOUND = 5_000
ACCOUNTS = 10_000
# A clock that was set back by more than this is noticed, so soon.
JUMP_S = 0.5
LOOK_S = 1.0


class _Told(NamedTuple):
    """A notice, what it says, and which metaevents led to it; ``bound`` binds its fields when it is asked first."""

    fact: Fact
    notice: Notice
    chain: Chain
    bound: Callable[[], Bound]


class Watcher:
    """The rules that are enabled, at work. ``start`` when they are all there, then ``close``, once each."""

    def __init__(  # noqa: PLR0913 the wiring of a service, all by keyword
        self,
        *,
        outbox: Outbox,
        bus: Bus,
        monitor: Monitor,
        notebook: Notebook,
        clock: Clock,
        limits: Limits,
        region: str,
    ) -> None:
        self._bus = bus
        self._monitor = monitor
        self._notebook = notebook
        self._clock = clock
        self._limits = limits
        self._chains = Chains()
        self._accounts: dict[str, Allowance] = {}
        self._jobs = Jobs(outbox, bus, clock, region=region, sent=self._sent)
        self._timetable: Timetable[Key] = Timetable("metaevents", self._due, clock)
        self._listener: Listener[Notice] | None = None
        self._rules: dict[Key, Rule] = {}
        self._owner = TaskOwner("metaevents")
        self.index = Index()

    def start(self) -> None:
        """Begin to heed the bus and the clock; what fell due before is due now."""
        self._jobs.start()
        self._listener = self._bus.heed("metaevents", self.consume, bound=BOUND, gather_s=GATHER_S)
        self._bus.watch(self.index.watched())
        now = self._clock.now()
        for rule in list(self.index):
            self._pass(rule, now)
        self._timetable.start()
        self._owner.spawn(self._mind_clock(), name="clock")

    async def close(self) -> None:
        """Raise nothing more."""
        await self._owner.close()
        await self._timetable.close()
        if self._listener is not None:
            await self._listener.flush()
        await self._jobs.close()

    def put(self, rule: Rule) -> None:
        """Ask this rule from now on, in place of an older one of its name."""
        self.remove(rule.key)
        self._rules[rule.key] = rule
        self.index.put(rule)
        for job in rule.memory.jobs:
            self._chains.job(job.request_id, job.chain)
        if self._listener is not None:
            self._pass(rule, self._clock.now())
            self._bus.watch(self.index.watched())

    def remove(self, key: Key) -> None:
        """Ask it no more."""
        if self._rules.pop(key, None) is not None:
            self.index.remove(key)
            self._timetable.cancel(key)
            if self._listener is not None:
                self._bus.watch(self.index.watched())

    async def settle(self) -> None:
        """Return when what was told so far is judged."""
        if self._listener is not None:
            await self._listener.flush()

    async def consume(self, notices: list[Notice]) -> None:
        """Judge what was told, in one go: nobody sees a part of it."""
        for notice in notices:
            fact = fact_of(notice)
            concerned = self.index.concerned(fact)
            chain = notice.chain if isinstance(notice, MetaeventRaised) else self._chains.of(fact)
            if not concerned:
                continue
            told = _Told(fact, notice, chain, _binder(fact))
            for rule in concerned:
                self._take(rule, told)

    def _take(self, rule: Rule, told: _Told) -> None:
        fact, state, now = told.fact, rule.memory.state, self._clock.now()
        if rule.rests(now):
            return
        if rule.due is not None and fact.at >= rule.due:
            self._pass(rule, now)
        began = self._clock.monotonic()
        judgement = observe(rule.criteria, state, fact, told.bound, now)
        rule.took(self._clock.monotonic() - began, now)
        if judgement is None:
            return
        rule.saw(fact)
        evaluation = rule.note(now, fact.kind, judgement)
        if judgement.rose:
            self._rise(rule, evaluation, judgement, now, told)
        if rule.criteria.by_time:
            self._set(rule, now)
            self._notebook.saw(rule, state.seen)
        self._notebook.changed(rule)

    async def _due(self, key: Key, _due: float) -> float | None:
        # What happened before may still be on its way here.
        await self.settle()
        rule = self._rules.get(key)
        if rule is None:
            return None
        self._pass(rule, self._clock.now())
        return rule.due

    def _pass(self, rule: Rule, now: float) -> None:
        """Time went by without an event of this rule's."""
        judgement = advance(rule.criteria, rule.memory.state, now)
        if judgement.rose:
            evaluation = rule.note(now, "", judgement)
            self._rise(rule, evaluation, judgement, now)
        self._notebook.changed(rule)
        self._set(rule, now)

    def _set(self, rule: Rule, now: float) -> None:
        """Look again when time alone may change something; a look that comes too early costs little, moving it with every
        event would."""
        rule.due = due = next_moment(rule.criteria, rule.memory.state, now)
        if due is None:
            return
        known = self._timetable.due(rule.key)
        if known is None or due < known:
            self._timetable.set(rule.key, due)

    def _rise(
        self,
        rule: Rule,
        evaluation: Evaluation,
        judgement: Judgement,
        now: float,
        told: _Told | None = None,
    ) -> None:
        memory, chain = rule.memory, told.chain if told else ()
        refused = self._refused(rule, chain, now)
        if refused:
            memory.refused += 1
            evaluation.refused = refused
            return
        memory.fired += 1
        memory.fired_at = now
        raised = Raised(
            rule=rule,
            id=f"{rule.row.revision}-{memory.fired}",
            at=now,
            judgement=judgement,
            chain=(*chain, rule.row.name),
            fact=told.fact if told else None,
            origin=_origin(told.notice, self._monitor) if told else NOTHING,
        )
        request_id = self._jobs.take(raised)
        evaluation.job = raised.id
        rule.ran(Job(raised.id, request_id, now, raised.chain))
        self._chains.job(request_id, raised.chain)

    def _refused(self, rule: Rule, chain: Chain, now: float) -> str:
        if self._jobs.full:
            return "too many jobs wait to be written to disk"
        account = rule.row.account
        allowance = self._accounts.get(account)
        if allowance is None:
            if len(self._accounts) >= ACCOUNTS:
                self._accounts.clear()
            allowance = self._accounts[account] = Allowance(self._limits.account_per_minute, now)
        return refusal(
            self._limits,
            chain=chain,
            cooling_s=rule.cooling_s(now),
            rule=rule.memory.allowance,
            account=allowance,
            now=now,
        )

    async def _mind_clock(self) -> None:
        """When the clock is set back, moments that were computed by the old one come too late: they are made anew."""
        offset = self._clock.now() - self._clock.monotonic()
        while True:
            await self._clock.sleep(LOOK_S)
            now = self._clock.now()
            before, offset = offset, now - self._clock.monotonic()
            if before - offset > JUMP_S:
                for rule in list(self.index):
                    self._pass(rule, now)

    async def _sent(self, raised: Raised) -> None:
        await self._notebook.write_now(raised.rule)


def _binder(fact: Fact) -> Callable[[], Bound]:
    """Binds the fields of a fact once, when the first expression asks for them."""
    made: list[Bound] = []

    def bound() -> Bound:
        if not made:
            made.append(bind(fact.kind, bindings(fact)))
        return made[0]

    return bound


def _origin(notice: Notice, monitor: Monitor) -> Origin:
    """The job is caused by the execution that the event is about, if it is about one."""
    if isinstance(notice, ExecutionSeen):
        record = notice.ended.record
        return monitor.ended(notice.ended.context, record.account)
    if isinstance(notice, ExecutionStarted):
        return monitor.ended(notice.context, notice.account)
    return NOTHING
