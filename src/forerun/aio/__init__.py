"""What asyncio lacks: owned tasks, a clock that can be passed in, short waits without sleep, HTTP on sockets that come and go, input of processes."""

from forerun.aio.awake import Awake
from forerun.aio.clock import Clock, SystemClock
from forerun.aio.corrected import CorrectedClock, Reading, difference
from forerun.aio.given import given
from forerun.aio.http import (
    App,
    BodyTooLarge,
    BodyTooSlow,
    Bounds,
    ClientLeft,
    HttpServer,
    Receive,
    Scope,
    Send,
    read_body,
    while_connected,
)
from forerun.aio.tasks import TaskOwner
from forerun.aio.transports import cut

__all__ = [
    "App",
    "Awake",
    "BodyTooLarge",
    "BodyTooSlow",
    "Bounds",
    "ClientLeft",
    "Clock",
    "CorrectedClock",
    "HttpServer",
    "Reading",
    "Receive",
    "Scope",
    "Send",
    "SystemClock",
    "TaskOwner",
    "cut",
    "difference",
    "given",
    "read_body",
    "while_connected",
]
