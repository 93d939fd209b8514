"""What the console answers, how it is sent, and what a browser may do with it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from forerun.aio import Send

Headers = list[tuple[bytes, bytes]]

# Nothing from outside, nothing inline, nobody's frame.
GUARD: Headers = [
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_TITLES = {400: "This does not work.", 401: "You are not signed in here.", 404: "Not found."}


class Answer(NamedTuple):
    """A whole response."""

    status: int
    content_type: bytes
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()


def json_answer(value: object, status: int = 200) -> Answer:
    """A value as JSON that no cache keeps."""
    return raw_json(msgspec.json.encode(value), status)


def raw_json(body: bytes, status: int = 200) -> Answer:
    """JSON that is encoded already."""
    return Answer(status, b"application/json", body, [(b"cache-control", b"no-store")])


def page(status: int, text: str, *, head: str = "", headers: Headers | None = None) -> Answer:
    """A page without scripts, for what cannot be shown by the console's own. ``text`` and ``head`` are HTML."""
    title = _TITLES.get(status, "Forerun")
    body = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Forerun</title>{head}'
        f'<link rel="icon" href="/console/mark.svg" type="image/svg+xml">'
        f'<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        f"<h1>{title}</h1>{text}</html>"
    )
    given = [(b"cache-control", b"no-store"), *(headers or [])]
    return Answer(status, b"text/html; charset=utf-8", body.encode(), given)


async def send_answer(send: Send, answer: Answer, *, head: bool = False) -> None:
    """Send it, without its body for ``HEAD``."""
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", str(len(answer.body)).encode()),
        *GUARD,
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})


def cookies(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """The cookies of a request; what is malformed is left out."""
    found = {}
    for part in headers.get(b"cookie", b"").decode("latin-1").split(";"):
        name, sign, value = part.strip().partition("=")
        if sign:
            found[name] = value
    return found
