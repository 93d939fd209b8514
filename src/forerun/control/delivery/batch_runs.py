"""One batch of an event source mapping: the synchronous invocation it becomes, and what comes of its messages."""

import random
from collections.abc import Awaitable, Callable, Sequence
from uuid import uuid4

import msgspec

from forerun.aio import Clock
from forerun.control.delivery.batching import BatchLimits, payload_of
from forerun.control.delivery.filtering import Wants
from forerun.control.delivery.permission import OWN
from forerun.control.delivery.settling import Batch, FailureRules, Verdict, failed_items, settle
from forerun.control.delivery.undeliverable import Refusal, letter_of
from forerun.control.invoke import Invocation, Invoker, Reply
from forerun.control.registry import Registry, Resolved
from forerun.errors import ForerunError, HostLost, NotFound, RecursionDetected, Throttled
from forerun.model import RECURSION_LIMIT, DeadLetter, FunctionVersion, Message, occurrences
from forerun.scheduling import Admission
from forerun.sources import Pulled

OK = "OK"
NOTHING_YET = "No records processed"
FAILED = "PROBLEM: Function call failed"
THROTTLED = "PROBLEM: Function call was throttled"
BROKEN = "PROBLEM: The platform failed; its log says how"
PRINCIPAL = f"mappings{OWN}"


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner of a mapping wants: from which source to which function, and how.

    ``at_once`` bounds the batches that run at the same time; ``report_items``: the function says which messages failed;
    ``wants`` is the mapping's filter, ``None`` when everything is wanted.
    """

    account: str
    name: str
    qualifier: str | None
    source: str
    limits: BatchLimits
    at_once: int
    report_items: bool = False
    wants: Wants | None = None
    rules: FailureRules = FailureRules()


class Around(msgspec.Struct, frozen=True, kw_only=True):
    """What pollers stand on. ``require`` raises ``InvalidInput`` when a function may not take from a source; ``put_away`` keeps
    dead letters, which are on disk when it returns.
    """

    registry: Registry
    invoker: Invoker
    admission: Admission
    require: Callable[[FunctionVersion, str], Awaitable[None]]
    put_away: Callable[[Sequence[DeadLetter]], Awaitable[None]]
    clock: Clock


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a batch. ``result`` in AWS's words; ``handler_s`` is how long the handler took.

    ``refused``: it was never begun, for lack of room or because the platform failed. ``gone``: there is no such function.
    """

    verdict: Verdict
    result: str
    handler_s: float = 0.0
    refused: bool = False
    gone: bool = False

    @property
    def failed_groups(self) -> set[str]:
        """The groups in which nothing may go on before what failed comes again."""
        return {message.group for message in self.verdict.release if message.group}


class BatchRuns:
    """Runs the batches of one mapping; many at once."""

    def __init__(self, wish: Wish, around: Around) -> None:
        self._wish = wish
        self._around = around
        self._random = random.Random()  # noqa: S311 weights of aliases, not secrets

    async def resolve(self) -> Resolved:
        """What the mapping's function means now. Raises ``NotFound``, ``StorageFailed``."""
        wish, registry = self._wish, self._around.registry
        pick = self._random.random()
        known = registry.peek(wish.account, wish.name, wish.qualifier, pick)
        if known is not None:
            return known
        return await registry.resolve(wish.account, wish.name, wish.qualifier, pick)

    async def run(self, batch: Sequence[Pulled]) -> Ran:
        """Run it; raises nothing that the platform can explain."""
        try:
            resolved = await self.resolve()
        except NotFound as error:
            verdict = Verdict(release=list(batch))
            return Ran(verdict=verdict, result=f"PROBLEM: {error.message}", refused=True, gone=True)
        except ForerunError as error:
            return refused(batch, f"PROBLEM: {error.message}")
        try:
            reply = await self._around.invoker.run(resolved, self._invocation(batch))
        except Throttled:
            return refused(batch, THROTTLED)
        except RecursionDetected as error:
            return await self._without_loops(resolved, batch, error)
        except ForerunError as error:
            if isinstance(error, HostLost):
                # It may run there for so long; nobody else gets the messages meanwhile.
                await self._around.clock.sleep(error.over_in_s)
            return refused(batch, f"PROBLEM: {error.message}")
        return self._ended(batch, reply)

    async def _without_loops(
        self, resolved: Resolved, batch: Sequence[Pulled], error: RecursionDetected
    ) -> Ran:
        """Put away what the function has caused itself too often; the rest runs without it."""
        function = resolved.function
        loops: list[Pulled] = []
        rest: list[Pulled] = []
        for message in batch:
            runs = occurrences(message.origin.lineage, function.account, function.name)
            (loops if runs >= RECURSION_LIMIT else rest).append(message)
        try:
            await self._around.put_away([self._letter(resolved, each, error) for each in loops])
        except ForerunError as failure:
            return refused(batch, f"PROBLEM: {failure.message}")
        result = f"PROBLEM: {error.message}"
        if not loops or not rest:
            return Ran(verdict=Verdict(finish=loops, release=rest), result=result)
        ran = await self.run(rest)
        verdict = msgspec.structs.replace(ran.verdict, finish=[*loops, *ran.verdict.finish])
        return msgspec.structs.replace(ran, verdict=verdict, result=result)

    def _letter(self, resolved: Resolved, message: Pulled, error: RecursionDetected) -> DeadLetter:
        now = self._around.clock.now()
        return letter_of(
            Message(
                id=message.id,
                account=self._wish.account,
                source=self._wish.source,
                principal=PRINCIPAL,
                target=resolved.invoked_arn,
                payload=payload_of([message]),
                origin=message.origin,
                occurred_at=message.sent_at,
            ),
            Refusal("RecursionDetected", error.message),
            attempts=message.received,
            now=now,
        )

    def _invocation(self, batch: Sequence[Pulled]) -> Invocation:
        """Of several causes the one with the longest lineage counts: a loop is found whatever comes with it."""
        first = batch[0]
        origin = first.origin
        for message in batch:
            if len(message.origin.lineage) > len(origin.lineage):
                origin = message.origin
        names = {message.id for message in batch}
        return Invocation(
            request_id=str(uuid4()),
            payload=payload_of(batch),
            received=first.taken_at,
            dequeued=first.taken_at,
            source=self._wish.source,
            origin=origin,
            accepted=(lambda answer: failed_items(answer, names) == frozenset())
            if self._wish.report_items
            else None,
        )

    def _ended(self, batch: Sequence[Pulled], reply: Reply) -> Ran:
        failed: frozenset[str] | None = frozenset()
        if reply.error is not None:
            failed = None
        elif self._wish.report_items:
            failed = failed_items(reply.payload, {message.id for message in batch})
        rules, now = self._wish.rules, self._around.clock.now()
        timings = reply.record.timings
        return Ran(
            verdict=settle(Batch(batch), failed, rules, now=now),
            result=OK if failed is not None and not failed else FAILED,
            handler_s=max(0.0, timings.ended - timings.started),
        )


def refused(batch: Sequence[Pulled], result: str) -> Ran:
    """What came of a batch that was never begun."""
    return Ran(verdict=Verdict(release=list(batch)), result=result, refused=True)
