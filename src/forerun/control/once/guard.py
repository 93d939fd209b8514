"""Stands before ``control.invoke``: decides whether an execution is needed, and answers with what there is where it is not."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import msgspec

from forerun.aio import Clock, TaskOwner
from forerun.control.invoke import Invocation, Reply, record_of
from forerun.control.once.dependencies import Dependencies, Snapshot, input_digest, what_changed
from forerun.control.once.key import derived_id, shown_id
from forerun.control.once.line import Line
from forerun.control.registry import Resolved
from forerun.errors import ForerunError, HostLost, StorageFailed
from forerun.model import InvocationRecord, TraceContext
from forerun.storage.once import IdName, InputName, OnceConfig, OnceStore, Record, Result
from forerun.traces import xray_header

log = logging.getLogger("forerun.once")

MOST_KEPT: Final = 256 * 1024
"""Bytes of the largest result that is kept."""

_LARGE: Final = 64 * 1024
_PLAIN: Final = OnceConfig()
_encode = msgspec.json.encode


class Runner(Protocol):
    """Runs what is to be run: ``control.invoke.Invoker``."""

    def execute(
        self,
        resolved: Resolved,
        invocation: Invocation,
        on_stored: Callable[[], None] | None = None,
    ) -> Coroutine[Any, Any, Reply]:
        """Run it, asking nobody."""
        ...

    def record(self, record: InvocationRecord, on_stored: Callable[[], None] | None) -> None:
        """Keep the record of what was not run."""
        ...


class Once:
    """``control.invoke.Guard``. ``close`` when nothing is invoked any more."""

    def __init__(
        self,
        *,
        runner: Runner,
        store: OnceStore,
        line: Line,
        dependencies: Dependencies,
        clock: Clock,
        init_s: float,
    ) -> None:
        """``init_s`` is how long a sandbox may take until a handler runs, in seconds."""
        self._runner = runner
        self._store = store
        self._line = line
        self._dependencies = dependencies
        self._clock = clock
        self._init_s = init_s
        self._owner = TaskOwner("once")

    async def close(self) -> None:
        """End what runs."""
        await self._owner.close()

    async def run(
        self,
        resolved: Resolved,
        invocation: Invocation,
        on_stored: Callable[[], None] | None = None,
    ) -> Reply:
        """As ``Invoker.run``, unless it has been run already; also raises ``StorageFailed``."""
        config = resolved.once or _PLAIN
        identifier, remark = invocation.execution_id, ""
        if not identifier and config.key:
            identifier, remark = await _derived(config.key, invocation.payload)
        if not identifier:
            reply = await self._unless_unchanged(resolved, invocation, on_stored)
            if remark and reply.executed is not False:
                _note(reply.record, f"run without an execution id: {remark}")
            return reply
        function = resolved.function
        which = IdName(function.account, function.name, identifier)
        wait_s = function.timeout_s + self._init_s
        known = await self._line.claim(which, limit=config.successes, wait_s=wait_s)
        if known is not None:
            why = f"the execution id {shown_id(identifier)} succeeded in {known.request_id}"
            return self._not_run(resolved, invocation, known, ("duplicate", why), on_stored)
        # Whoever asked first may leave; others wait for it, and what succeeded is to be known.
        running = self._claimed(which, resolved, invocation, on_stored)
        try:
            task = self._owner.spawn(running, name=f"id-{invocation.request_id}")
        except RuntimeError:
            self._line.ended(which)
            raise StorageFailed("The server is about to stop; try again later") from None
        ended: Reply | ForerunError = await asyncio.shield(task)
        if isinstance(ended, ForerunError):
            raise ended
        return ended

    async def _claimed(
        self,
        which: IdName,
        resolved: Resolved,
        invocation: Invocation,
        on_stored: Callable[[], None] | None,
    ) -> Reply | ForerunError:
        try:
            reply = await self._unless_unchanged(resolved, invocation, on_stored)
        except HostLost as error:
            # It may run there for so long: that counts as running.
            await self._clock.sleep(error.over_in_s)
            self._line.ended(which)
            return error
        except ForerunError as error:
            self._line.ended(which)
            return error
        except BaseException:
            self._line.ended(which)
            raise
        if reply.executed is False:
            self._line.ended(which)
            return reply
        reply.executed = True
        if not _succeeded(invocation, reply):
            self._line.ended(which)
            return reply
        config = resolved.once or _PLAIN
        result = self._result(reply)
        kept = _bounded(result) if config.keep_results else _without(result)
        try:
            await self._line.succeeded(which, result, kept=kept, expires_s=config.expires_s)
        except ForerunError as error:
            return error
        return reply

    async def _unless_unchanged(
        self,
        resolved: Resolved,
        invocation: Invocation,
        on_stored: Callable[[], None] | None,
    ) -> Reply:
        """Run it, unless nothing that it depends on has changed since its last success."""
        config = resolved.once
        if config is None or not config.depends_on:
            return await self._runner.execute(resolved, invocation, on_stored)
        function = resolved.function
        digest = await input_digest(invocation.payload, invocation.client_context)
        which = InputName(function.account, function.name, function.version, digest)
        # States are those before the run: what changes during it is a change.
        now = await self._dependencies.snapshot(resolved, config.depends_on)
        known = await self._store.record(which)
        if known is not None:
            changed = what_changed(known.state, now)
            if not changed:
                why = f"nothing that it depends on changed since {known.result.request_id}"
                return self._not_run(
                    resolved, invocation, known.result, ("declined", why), on_stored
                )
            # Until it has succeeded, what is known is not what was done last.
            await self._store.forget(which)
        reply = await self._runner.execute(resolved, invocation, on_stored)
        reply.executed = True
        if known is not None:
            _note(reply.record, f"run because {changed}")
        try:
            await self._settle(which, now, config, invocation, reply)
        except ForerunError as error:
            log.warning("What %s depended on is not known: %s", function.arn, error.message)
        return reply

    async def _settle(
        self,
        which: InputName,
        now: Snapshot,
        config: OnceConfig,
        invocation: Invocation,
        reply: Reply,
    ) -> None:
        if not _succeeded(invocation, reply):
            await self._store.forget(which)
        elif now.certain:
            result = self._result(reply)
            kept = _bounded(result) if config.keep_results else _without(result)
            await self._store.remember(which, Record(_encode(now), kept))

    def _result(self, reply: Reply) -> Result:
        record = reply.record
        return Result(
            request_id=record.request_id,
            version=record.version,
            at=self._clock.now(),
            content_type=reply.content_type,
            payload=None if reply.streamed else reply.payload,
        )

    def _not_run(
        self,
        resolved: Resolved,
        invocation: Invocation,
        known: Result,
        outcome: tuple[str, str],
        on_stored: Callable[[], None] | None,
    ) -> Reply:
        """The answer without an execution, and its record; ``outcome`` is the status and why, in words."""
        function, origin = resolved.function, invocation.origin
        context = TraceContext(
            trace_id=origin.trace_id,
            span_id="",
            origin=origin,
            header=xray_header(origin.trace_id, origin.parent_id, sampled=origin.sampled)
            if origin.trace_id
            else "",
            account=function.account,
            function=function.name,
        )
        payload = b"null" if known.payload is None else known.payload
        record = record_of(resolved, invocation, context.header)
        record.status, record.cause = outcome
        record.placement, record.response_bytes = "not run", len(payload)
        record.timings.answered = self._clock.now()
        self._runner.record(record, on_stored)
        return Reply(
            payload=payload,
            content_type="application/json" if known.payload is None else known.content_type,
            error=None,
            error_type=None,
            record=record,
            context=context,
            log=list,
            executed=False,
            result_kept=known.payload is not None,
        )


async def _derived(key: str, payload: bytes) -> tuple[str, str]:
    if len(payload) > _LARGE:
        return await asyncio.to_thread(derived_id, key, payload)
    return derived_id(key, payload)


def _succeeded(invocation: Invocation, reply: Reply) -> bool:
    if reply.error is not None:
        return False
    return invocation.accepted is None or invocation.accepted(reply.payload)


def _bounded(result: Result) -> Result:
    payload = result.payload
    return _without(result) if payload is not None and len(payload) > MOST_KEPT else result


def _without(result: Result) -> Result:
    return msgspec.structs.replace(result, payload=None)


def _note(record: InvocationRecord, remark: str) -> None:
    """Add to why it ran as it ran; records are written behind the answer."""
    record.placement = f"{record.placement}; {remark}" if record.placement else remark
