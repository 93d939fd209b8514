"""One-time links, and the sessions that they open. All of it is in memory: a server that starts anew knows nobody.

A link and a session are random values; only their digests are kept. A session lasts as long as the access key that asked
for it is active, at most ``SESSION_S``.
"""

import hashlib
import secrets
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from forerun.aio import Clock
from forerun.errors import AccessDenied, InvalidInput, Throttled

LINK_S = 60.0
SESSION_S = 12 * 3600.0
MOST_LINKS = 1_000
MOST_SESSIONS = 1_000
# Requests that one session may make at once, and in a second on average.
BURST = 300.0
PER_S = 60.0
_TEMPORARY = "ASIA"


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """In whose name a session asks; ``access_key_id`` is the key that asked for its link."""

    account: str
    region: str
    principal_arn: str
    access_key_id: str
    source_ip: str = ""
    user_agent: str = ""


class Session:
    """One signed-in browser. ``streams`` counts the event streams that it has open now."""

    def __init__(self, visitor: Visitor, expires_at: float, now: float) -> None:
        self.visitor = visitor
        self.expires_at = expires_at
        self.streams = 0
        self._tokens = BURST
        self._counted = now

    def spend(self, now: float) -> None:
        """Count a request. Raises ``Throttled`` when there are too many."""
        self._tokens = min(BURST, self._tokens + (now - self._counted) * PER_S)
        self._counted = now
        if self._tokens < 1:
            raise Throttled("This session asks too often", reason="CallerRateLimitExceeded")
        self._tokens -= 1


class Opened(NamedTuple):
    """A new session's secret, and how many seconds it lasts."""

    secret: str
    lasts_s: int


class SignIn:
    """``alive`` tells the principal of an active access key, ``None`` when there is none."""

    def __init__(self, clock: Clock, alive: Callable[[str], str | None]) -> None:
        self._clock = clock
        self._alive = alive
        self._links: dict[bytes, tuple[Visitor, float]] = {}
        self._sessions: dict[bytes, Session] = {}

    def link(self, visitor: Visitor) -> str:
        """The code of a link for ``visitor``, good once, within ``LINK_S`` seconds.

        Raises ``InvalidInput`` for temporary credentials: a session would outlive them.
        """
        if visitor.access_key_id.startswith(_TEMPORARY):
            raise InvalidInput(
                "Links to the console are given to access keys of users and roots, not to temporary credentials"
            )
        now = self._clock.now()
        self._links = {key: link for key, link in self._links.items() if link[1] > now}
        _make_room(self._links, MOST_LINKS)
        code = secrets.token_urlsafe(32)
        self._links[_digest(code)] = (visitor, now + LINK_S)
        return code

    def open(self, code: str) -> Opened:
        """The session that a link is good for; the link is used up. Raises ``AccessDenied``."""
        found = self._links.pop(_digest(code), None)
        now = self._clock.now()
        if found is None or found[1] <= now:
            raise AccessDenied("This link was used already, or is older than a minute")
        self._sessions = {
            key: each for key, each in self._sessions.items() if each.expires_at > now
        }
        _make_room(self._sessions, MOST_SESSIONS)
        secret = secrets.token_urlsafe(32)
        self._sessions[_digest(secret)] = Session(found[0], now + SESSION_S, now)
        return Opened(secret, int(SESSION_S))

    def session(self, secret: str) -> Session | None:
        """The session that a cookie is of, if it still goes on."""
        if not secret:
            return None
        key = _digest(secret)
        session = self._sessions.get(key)
        if session is None:
            return None
        if not self.goes_on(session):
            del self._sessions[key]
            return None
        return session

    def goes_on(self, session: Session) -> bool:
        """Whether a session has neither expired, nor been closed, nor lost its key."""
        visitor = session.visitor
        return (
            session.expires_at > self._clock.now()
            and self._alive(visitor.access_key_id) == visitor.principal_arn
        )

    def close(self, secret: str) -> None:
        """End a session."""
        session = self._sessions.pop(_digest(secret), None)
        if session is not None:
            session.expires_at = 0.0


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _make_room(
    kept: dict[bytes, object] | dict[bytes, Session] | dict[bytes, tuple[Visitor, float]], most: int
) -> None:
    while len(kept) >= most:
        del kept[next(iter(kept))]
