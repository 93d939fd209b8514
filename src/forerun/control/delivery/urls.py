"""Messages to URLs: one POST each, within a deadline, to an address that may be posted to.

2xx is success. 400, 401, 403, 404, 405, 410, 411, 413, 414, 415 and 422 say that trying again cannot help; redirects are not
followed and are for good, too. Everything else, timeouts and refused connections among it, is tried again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import httptools

from forerun.control.outside import Outside, Url, read_url
from forerun.errors import AccessDenied, ForerunError, InvalidInput, NotFound
from forerun.model import Message

HEADER: Final = "header:"
"""How attributes of a message begin that are headers of its request."""

_GONE = frozenset({404, 410})
_REFUSED = frozenset({400, 405, 411, 413, 414, 415, 422})
_FORBIDDEN = frozenset({401, 403})
_OWN = frozenset({"host", "content-length", "connection", "transfer-encoding", "expect"})


class Unreachable(ForerunError):
    """The URL could not be reached, or did not take the message this time."""


class UrlTarget:
    """``Deliverer`` to URLs; the messages of a batch at the same time."""

    def __init__(self, *, timeout_s: float, private: bool) -> None:
        """``private``: addresses that are not public may be posted to."""
        self._timeout_s = timeout_s
        self._outside = Outside(private=private)

    async def deliver(
        self, target: str, messages: Sequence[Message]
    ) -> Sequence[ForerunError | None]:
        """Post each; for each ``None`` or why not."""
        return await asyncio.gather(*(self._answer(target, each) for each in messages))

    async def _answer(self, target: str, message: Message) -> ForerunError | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                url = read_url(target)
                answer = await self._outside.ask(url, request_of(url, message))
        except TimeoutError:
            return Unreachable(f"{target} did not answer within {self._timeout_s:g} s")
        except ForerunError as error:
            return error
        except UnicodeError as error:
            return InvalidInput(f"{target} has a host that cannot be looked up: {error}")
        except (OSError, httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            return Unreachable(f"{target} could not be reached: {error}")
        return meaning_of(answer.status, target)


def request_of(url: Url, message: Message) -> bytes:
    """The whole request."""
    given = {
        name.removeprefix(HEADER).lower(): value
        for name, value in message.attributes.items()
        if name.startswith(HEADER)
    }
    headers: Mapping[str, str] = {
        "content-type": "application/json",
        "user-agent": "Forerun",
        **{name: value for name, value in given.items() if name not in _OWN},
        "host": url.authority,
        "content-length": str(len(message.payload)),
        "connection": "close",
    }
    lines = [f"POST {url.target} HTTP/1.1"]
    for name, value in headers.items():
        if not _is_token(name) or not value.isprintable():
            raise InvalidInput(f"The header {name[:100]!r} cannot be sent")
        lines.append(f"{name}: {value}")
    return "\r\n".join((*lines, "", "")).encode("latin-1", "replace") + message.payload


def meaning_of(status: int, target: str) -> ForerunError | None:
    """What an answer says of the message: ``None`` when it was taken."""
    if 200 <= status < 300:
        return None
    said = f"{target} answered {status}"
    if status in _GONE:
        return NotFound(said)
    if status in _FORBIDDEN:
        return AccessDenied(said)
    if status in _REFUSED:
        return InvalidInput(said)
    if 300 <= status < 400:
        return InvalidInput(f"{said}; redirects are not followed")
    return Unreachable(said)


def _is_token(name: str) -> bool:
    return (
        bool(name)
        and name.isascii()
        and all(each.isalnum() or each in "-_.~!#$%&'*+^`|" for each in name)
    )
