"""Where the duties are, and how they are reached from here: by a call, or through the holder's door."""

import logging
from collections.abc import Callable
from typing import Final

import msgspec

from forerun.aio import (
    App,
    ClientLeft,
    Clock,
    Receive,
    Scope,
    Send,
    read_body,
    while_connected,
)
from forerun.api.inside import account_inside, from_inside
from forerun.api.reception import NoHolder
from forerun.api.request_ids import new_request_id
from forerun.api.response import Response, send_response
from forerun.app.holding import Holding
from forerun.cluster import NOT_HERE, Gone, Knocker, Passed, Passing, Peer, post
from forerun.control.duties import NAME
from forerun.control.elsewhere import RUN, Failure
from forerun.errors import ForerunError, StorageFailed
from forerun.storage.leases import LeaseStore
from forerun.storage.machines import ControlPlaneStore

log = logging.getLogger("forerun.duties")

KNOWN_S: Final = 1.0
RETRY_S: Final = 0.2
OWN_BYTES: Final = 64 * 1024 * 1024
OWN_S: Final = 60.0
PASSED: Final = "forerun.passed"

_failure = msgspec.msgpack.Decoder(Failure).decode
_encode = msgspec.msgpack.Encoder().encode


class Holder:
    """``here`` gives the duties while they are surely held by this process, whose incarnation is ``me``."""

    def __init__(  # noqa: PLR0913 the wiring of a service, all by keyword
        self,
        *,
        me: str,
        here: Callable[[], Holding | None],
        leases: LeaseStore,
        planes: ControlPlaneStore,
        knocker: Knocker,
        clock: Clock,
        patience_s: float,
    ) -> None:
        self._me = me
        self._here = here
        self._leases = leases
        self._planes = planes
        self._clock = clock
        self._patience_s = patience_s
        self._http = Passing(knocker, "http")
        self._own = Passing(knocker, "relay")
        self._known: tuple[str, Peer] | None = None
        self._known_at = float("-inf")
        self._leaving = False

    def leave(self) -> None:
        """This control plane leaves: from now on a holder is waited for only where another could become one."""
        self._leaving = True

    async def close(self) -> None:
        """Leave the connections that wait."""
        self._http.close()
        self._own.close()

    async def elsewhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the holder answer a request. Raises ``NoHolder``."""
        here = self._here()
        if here is not None:
            await here.application(scope, receive, send)
            return
        address, peer = await self._find()
        client = scope.get("client")
        passed = Passed(
            request_id=new_request_id(),
            client=(client[0], client[1]) if client else None,
            account=account_inside(scope) or "",
        )
        try:
            await self._http.pass_on(address, peer, passed, scope, receive, send)
        except Gone as error:
            self._known = None
            if error.begun:
                raise
            raise NoHolder(f"The control plane with the duties left: {error.message}.") from error

    async def ask(self, name: str, body: bytes) -> bytes:
        """``control.elsewhere.Ask``: waits for a holder for a while."""
        deadline = self._clock.monotonic() + self._patience_s
        while True:
            try:
                return await self._ask(name, body)
            except NoHolder as error:
                late = self._clock.monotonic() >= deadline
                if late or (self._leaving and await self._alone()):
                    raise StorageFailed(error.message) from error
            await self._clock.sleep(RETRY_S)

    async def _ask(self, name: str, body: bytes) -> bytes:
        here = self._here()
        if here is not None and here.desk is not None:
            return await here.desk.answer(name, body)
        address, peer = await self._find()
        try:
            status, answer = await post(self._own, address, peer, f"/{name}", body)
        except Gone as error:
            self._known = None
            if error.asked and name == RUN:
                raise StorageFailed(
                    f"The execution was begun elsewhere, and that is gone: {error.message}"
                ) from error
            raise NoHolder(error.message) from error
        if status == 200:
            return answer
        try:
            raise _failure(answer).raised()
        except msgspec.DecodeError:
            raise StorageFailed(f"the holder of the duties answered with {status}") from None

    async def _alone(self) -> bool:
        """Whether no other control plane is there that could take the duties."""
        try:
            planes = await self._planes.all()
        except StorageFailed:
            return False
        return all(
            each.incarnation == self._me or each.seen_s > self._patience_s for each in planes
        )

    async def _find(self) -> tuple[str, Peer]:
        """The holder's door, and who is behind it. Raises ``NoHolder``."""
        now = self._clock.monotonic()
        if self._known is not None and now - self._known_at < KNOWN_S:
            return self._known
        try:
            holder = await self._leases.holder(NAME)
            planes = await self._planes.all() if holder is not None else []
        except StorageFailed as error:
            raise NoHolder(
                f"Nobody knows who has the duties: {error.message.rstrip('.')}."
            ) from error
        for plane in planes:
            if holder is not None and plane.incarnation == holder.owner:
                if plane.incarnation == self._me:
                    break
                self._known, self._known_at = (plane.door, Peer(plane.name, "control")), now
                return self._known
        raise NoHolder("No control plane has the duties at the moment.")

    # -- at this process's own door ------------------------------------------------------------------------------

    async def passed(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request that another control plane has passed on: it is answered here, or by nobody."""
        here = self._here()
        if here is None:
            await send_response(send, Response(503, [(NOT_HERE, b"duties")], b""))
            return
        app: App = here.application
        if account := scope[PASSED].account:
            app = from_inside(app, account)
        await app(scope, receive, send)

    async def own(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A question of another control plane itself."""
        here = self._here()
        if here is None or here.desk is None:
            await send_response(send, Response(503, [(NOT_HERE, b"duties")], b""))
            return
        body = await read_body(receive, limit=OWN_BYTES, timeout_s=OWN_S)
        try:
            asked = here.desk.answer(scope["raw_path"][1:].decode("latin-1"), body)
            # Who asked may be gone, and somebody else run it: it ends here then.
            answer = await while_connected(receive, asked)
        except ClientLeft:
            return
        except ForerunError as error:
            await send_response(send, Response(409, [], _encode(Failure.of(error))))
        else:
            await send_response(send, Response(200, [], answer))
