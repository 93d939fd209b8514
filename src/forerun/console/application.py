"""The console's door: pages, the sign-in, and what the pages ask for under ``/console/api/``.

A request without a session gets the pages (which say how to get one) and nothing else. What changes something must carry
a header that no other site's form or image can send. Every question is put in the name of the session's principal.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

import msgspec

from forerun.aio import BodyTooLarge, BodyTooSlow, Clock, Receive, Scope, Send, read_body
from forerun.console.answers import (
    Answer,
    cookies,
    json_answer,
    page,
    raw_json,
    send_answer,
)
from forerun.console.functions import FunctionPages
from forerun.console.live import Tails
from forerun.console.logs import LogPages
from forerun.console.pages import Pages
from forerun.console.pulse import PulseBoard
from forerun.console.sign_in import Session, SignIn, Visitor
from forerun.console.streams import Streams
from forerun.control.authorization import Authorizer
from forerun.errors import (
    AccessDenied,
    Conflict,
    ForerunError,
    InvalidInput,
    NotFound,
    StorageFailed,
    Throttled,
)

log = logging.getLogger("forerun.console")

COOKIE = "forerun_console"
BODY_BYTES = 64 * 1024
BODY_S = 10.0
LONGEST_S = 90 * 86_400
CHANGING = b"x-forerun-console"
# What pages may have the platform do in the visitor's name; everything else is for those who sign.
COMMANDS = frozenset(
    {
        "cordon",
        "delete-dead-letters",
        "delete-metaevent",
        "drain",
        "put-metaevent",
        "redrive-dead-letters",
        "uncordon",
    }
)
_STATUS: list[tuple[type[ForerunError], int]] = [
    (AccessDenied, 403),
    (NotFound, 404),
    (InvalidInput, 400),
    (Conflict, 409),
    (Throttled, 429),
    (StorageFailed, 503),
]
_ENTERED = (
    "<p>You are signed in. <a href='/console/'>To the console</a></p>",
    '<meta http-equiv="refresh" content="0;url=/console/">',
)

Query = Mapping[str, str]
Platform = Callable[[Visitor, str, Query], Awaitable[bytes]]
Command = Callable[[Visitor, str, bytes], Awaitable[bytes]]
Asked = Callable[[Visitor, Query], Awaitable[object]]
Changed = Callable[[Visitor, Mapping[str, Any]], Awaitable[object]]


class Estate(NamedTuple):
    """What the pages show. ``platform`` answers ``GET /forerun/NAME`` for a visitor, ``command`` does what ``POST`` does with a
    body; ``about`` is the same for everybody."""

    functions: FunctionPages
    logs: LogPages
    pulse: PulseBoard
    tails: Tails
    platform: Platform
    command: Command
    authorizer: Authorizer
    about: Mapping[str, object]


class Console:
    """The ASGI application under ``/console``."""

    def __init__(self, estate: Estate, sign_in: SignIn, clock: Clock) -> None:
        self._estate = estate
        self._sign_in = sign_in
        self._clock = clock
        self._pages = Pages()
        self._streams = Streams(sign_in, estate.pulse, estate.tails, clock, self._require_stream)
        self._asked: dict[str, Asked] = {
            "functions": lambda visitor, _: estate.functions.list(visitor),
            "function": lambda visitor, query: estate.functions.one(visitor, _name(query)),
            "logs": self._get_logs,
            "series": self._get_series,
        }
        self._changed: dict[str, Changed] = {"set-monitoring": self._set_monitoring}

    def close(self) -> None:
        """End the event streams, which would go on for as long as somebody looks."""
        self._streams.close()

    async def link(self, visitor: Any, _query: Query) -> object:
        """``GET /forerun/console-link``: the path of a one-time link for the caller, below the server's address."""
        code = self._sign_in.link(
            Visitor(
                account=visitor.account,
                region=visitor.region,
                principal_arn=visitor.principal_arn,
                access_key_id=visitor.access_key_id,
            )
        )
        return {"Path": f"/console/enter?code={code}", "ValidSeconds": 60}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request below ``/console``."""
        method: str = scope["method"]
        path = unquote(scope["raw_path"].decode("latin-1")).removeprefix("/console")
        headers = dict(scope["headers"])
        if path.startswith("/api/"):
            await self._api(scope, path.removeprefix("/api/"), headers, receive, send)
            return
        if method not in ("GET", "HEAD"):
            await send_answer(send, page(405, "<p>Pages are read with GET.</p>"))
            return
        if path == "/enter":
            answer = self._enter(scope, headers) if method == "GET" else page(405, "")
        elif path == "":
            answer = Answer(308, b"text/plain", b"", [(b"location", b"/console/")])
        else:
            gzipped = b"gzip" in headers.get(b"accept-encoding", b"")
            answer = self._pages.serve(path.removeprefix("/"), gzipped=gzipped)
        await send_answer(send, answer, head=method == "HEAD")

    def _enter(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Answer:
        """Open a session with a link's code. The way on is a page of ours, since a browser that comes from elsewhere
        would not send a strict cookie along with a redirect."""
        code = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("code", "")
        try:
            opened = self._sign_in.open(code)
        except AccessDenied as error:
            return page(
                401, f"<p>{error.message}. Ask for another with <code>forerun console</code>.</p>"
            )
        text, head = _ENTERED
        return page(
            200, text, head=head, headers=[_cookie(opened.secret, opened.lasts_s, scope, headers)]
        )

    async def _api(
        self, scope: Scope, name: str, headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        secret = cookies(headers).get(COOKIE, "")
        session = self._sign_in.session(secret)
        if session is None:
            refusal = {"message": "You are not signed in. Ask for a link: forerun console"}
            await send_answer(send, json_answer(refusal, 401))
            return
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), max_num_fields=50))
        try:
            session.spend(self._clock.now())
            if scope["method"] == "POST":
                answer = await self._change(session, name, scope, headers, receive, secret)
            elif name in self._streams.names:
                await self._streams.serve(session, name, query, receive, send)
                return
            else:
                answer = await self._ask(
                    _from(session.visitor, scope, headers), session, name, query
                )
        except ForerunError as error:
            status = next((code for kind, code in _STATUS if isinstance(error, kind)), 400)
            answer = json_answer({"message": error.message}, status)
        except Exception:
            log.exception("the console failed at %s", name)
            answer = json_answer({"message": "The server failed at this; its log says why."}, 500)
        await send_answer(send, answer)

    async def _ask(self, visitor: Visitor, session: Session, name: str, query: Query) -> Answer:
        if name == "me":
            return json_answer(
                {
                    "account": visitor.account,
                    "principal": visitor.principal_arn,
                    "region": visitor.region,
                    "expires_at": session.expires_at,
                    **self._estate.about,
                }
            )
        way, _, asked = name.partition("/")
        if way in ("platform", "perhaps"):
            return raw_json(
                await self._ask_platform(visitor, asked, query, strict=way == "platform")
            )
        handler = self._asked.get(name)
        if handler is None:
            raise NotFound(f"There is no /console/api/{name[:100]}")
        return json_answer(await handler(visitor, query))

    async def _ask_platform(
        self, visitor: Visitor, name: str, query: Query, *, strict: bool
    ) -> bytes:
        """What ``/forerun/NAME`` answers; unless ``strict``, null for what is not there (yet)."""
        if name == "console-link":
            raise NotFound("A session cannot ask for further links")
        try:
            return await self._estate.platform(visitor, name, query)
        except NotFound:
            if strict:
                raise
            return b"null"

    async def _change(
        self,
        session: Session,
        name: str,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        secret: str,
    ) -> Answer:
        if not _from_own_page(headers):
            raise AccessDenied("What changes something must come from the console's own pages")
        visitor = _from(session.visitor, scope, headers)
        try:
            body = await read_body(receive, limit=BODY_BYTES, timeout_s=BODY_S)
            content = msgspec.json.decode(body or b"{}", type=dict[str, Any])
        except BodyTooLarge:
            raise InvalidInput(f"The body must be at most {BODY_BYTES} bytes") from None
        except (BodyTooSlow, msgspec.DecodeError):
            raise InvalidInput("The body must be a JSON object") from None
        if name == "leave":
            self._sign_in.close(secret)
            gone = _cookie("", 0, scope, headers)
            return json_answer({})._replace(headers=[gone, (b"cache-control", b"no-store")])
        way, _, command = name.partition("/")
        if way == "platform" and command in COMMANDS:
            return raw_json(await self._estate.command(visitor, command, body))
        handler = self._changed.get(name)
        if handler is None:
            raise NotFound(f"There is no /console/api/{name[:100]} to change something")
        return json_answer(await handler(visitor, content))

    def _require_stream(self, visitor: Visitor, name: str) -> None:
        require = self._estate.authorizer.require
        require(visitor, "forerun:GetInvocations", "*")
        if name == "tail":
            require(visitor, "logs:FilterLogEvents", "*")

    async def _get_logs(self, visitor: Visitor, query: Query) -> object:
        name, start = _name(query), _seconds(query, "start")
        if request_id := query.get("request_id"):
            end = _seconds(query, "end")
            return await self._estate.logs.of_request(
                visitor, name, request_id, start=start, end=end
            )
        return await self._estate.logs.follow(
            visitor, name, start=start, pattern=query.get("filter", ""), after=query.get("after")
        )

    async def _get_series(self, visitor: Visitor, query: Query) -> object:
        """What a function did in the last so many seconds."""
        now, seconds = self._clock.now(), _seconds(query, "seconds")
        if not 60 <= seconds <= LONGEST_S:
            raise InvalidInput(f"seconds must be a number from 60 to {LONGEST_S}")
        asked = {
            "FunctionName": _name(query),
            "Since": f"{now - seconds:.0f}",
            "Until": f"{now:.0f}",
        }
        return msgspec.Raw(await self._estate.platform(visitor, "activity", asked))

    async def _set_monitoring(self, visitor: Visitor, content: Mapping[str, Any]) -> object:
        name, value = content.get("name"), content.get("value")
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidInput("name and value must be texts")
        return await self._estate.functions.set_monitoring(visitor, name, value)


def _from_own_page(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a page of this console has sent it: the header is one that others cannot send without being asked first.

    Browsers say besides where it comes from: by ``Sec-Fetch-Site``, or where there is no TLS by ``Origin`` alone.
    """
    if CHANGING not in headers:
        return False
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site == b"same-origin"
    origin = headers.get(b"origin")
    return origin is None or origin.partition(b"://")[2] == headers.get(b"host")


def _name(query: Query) -> str:
    name = query.get("name", "")
    if not name:
        raise InvalidInput("name is missing: say which function")
    return name


def _seconds(query: Query, name: str) -> float:
    try:
        return float(query.get(name) or 0.0)
    except ValueError:
        raise InvalidInput(f"{name} must be epoch seconds") from None


def _from(visitor: Visitor, scope: Scope, headers: Mapping[bytes, bytes]) -> Visitor:
    """The visitor with what conditions of policies may ask of this request."""
    client = scope["client"]
    return msgspec.structs.replace(
        visitor,
        source_ip=client[0] if client else "",
        user_agent=headers.get(b"user-agent", b"").decode("latin-1"),
    )


def _cookie(
    value: str, lasts_s: int, scope: Scope, headers: Mapping[bytes, bytes]
) -> tuple[bytes, bytes]:
    encrypted = scope.get("scheme") == "https" or headers.get(b"x-forwarded-proto") == b"https"
    text = f"{COOKIE}={value}; Path=/console; Max-Age={lasts_s}; HttpOnly; SameSite=Strict"
    return b"set-cookie", (text + ("; Secure" if encrypted else "")).encode()
