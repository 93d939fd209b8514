"""Events as the platform tells them, of executions that began and ended and of what they called."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from forerun.events import ExecutionBegan, ExecutionEnded
from forerun.model import (
    Channel,
    InvocationRecord,
    Origin,
    OutgoingCall,
    Timings,
    TraceContext,
)

ACCOUNT, OTHER = "1" * 12, "2" * 12
PLATFORM = "127.0.0.1:4566"
T0 = 1_760_000_400.0
_numbers = count(1)


def call(host: str = "s:80", *, at: float = 0.01, for_s: float = 0.01, **more: Any) -> OutgoingCall:
    """A GET that began ``at`` seconds after ``T0``, unfinished when ``for_s`` is 0."""
    values = {
        "span_id": f"{next(_numbers):016x}",
        "started": T0 + at,
        "ended": T0 + at + for_s if for_s else 0.0,
        "method": "GET",
        "host": host,
        "path": "/x",
        "status": 200 if for_s else 0,
    }
    return OutgoingCall(**(values | more))


def invoke(name: str, **more: Any) -> OutgoingCall:
    """A call of the platform's own Invoke."""
    path = f"/2015-03-31/functions/{name}/invocations"
    return call(PLATFORM, **{"service": "lambda", "method": "POST", "path": path} | more)


class Ran:
    """One execution: ``began`` and ``ended`` are its events. It lasts from ``at`` for ``for_s`` seconds after ``T0``."""

    def __init__(
        self,
        name: str = "A",
        *calls: OutgoingCall,
        at: float = 0.0,
        for_s: float = 0.1,
        account: str = ACCOUNT,
        version: str = "1",
        weight: int = 1,
        origin: Origin | None = None,
        request_id: str = "",
        cpu_ms: float = 0.0,
        dropped: int = 0,
        started: bool = True,
        **record: Any,
    ) -> None:
        self.span_id = f"{next(_numbers):016x}"
        self.calls: Sequence[OutgoingCall] = calls
        request_id = request_id or f"{next(_numbers):036x}"
        self.context = TraceContext(
            trace_id="0" * 32,
            span_id=self.span_id,
            origin=origin or Origin(),
            header="",
            weight=weight,
        )
        begin, end = T0 + at, T0 + at + for_s
        values = {"status": "success", "start_type": "warm", "duration_ms": for_s * 1000}
        self.began = ExecutionBegan(
            account=account,
            name=name,
            version=version,
            request_id=request_id,
            context=self.context,
            at=begin,
        )
        self.ended = ExecutionEnded(
            record=InvocationRecord(
                request_id=request_id,
                account=account,
                name=name,
                version=version,
                memory_mb=128,
                max_memory_mb=40,
                timings=Timings(
                    received=begin,
                    started=begin if started else 0.0,
                    ended=end if started else 0.0,
                    answered=end,
                ),
                **(values | record),
            ),
            context=self.context,
            region="r",
            calls=list(calls),
            cpu_ms=cpu_ms,
            dropped=dropped,
        )

    def through(self, span_id: str, channel: Channel = Channel.HEADER) -> Origin:
        """The origin of what this execution causes by the call with that span id."""
        return Origin(
            trace_id="0" * 32,
            parent_id=span_id,
            execution=self.span_id,
            account=self.began.account,
            weight=self.context.weight,
            channel=channel,
        )
