"""Temporary credentials that carry all that is needed to verify them: one for each sandbox, without a write or a look-up.

A session token is sealed by the server: it holds the access key id it belongs to, who it stands for, and until when.
The secret is derived from the token, so that nothing is stored. Such credentials end by time, or when the user or
role they were issued for is deleted; changing a policy takes effect at once, since rights are not in the token.
"""

import base64
import binascii
import hmac
import os
from typing import NamedTuple

import msgspec

from forerun.aio import Clock
from forerun.errors import AccessDenied, StorageFailed
from forerun.model import Credentials
from forerun.storage.sealing import Sealer

REMEMBERED = 10_000
_MAX_TOKEN = 4096
_CONTEXT = b"session"


class ExpiredCredentials(AccessDenied):
    """The security token included in the request is expired"""


class Claims(msgspec.Struct, frozen=True, array_like=True):
    """What a token says. ``entity_id`` is the unique id of the stored user or role, empty when none is stored."""

    access_key_id: str
    account: str
    principal_arn: str
    entity_id: str
    expires_at: int


class Session(NamedTuple):
    """Credentials and the epoch second they end at."""

    credentials: Credentials
    expires_at: int


class Verified(NamedTuple):
    """A token's claims and the secret that signs with it."""

    claims: Claims
    secret: str


class SessionTokens:
    """Issues and reads tokens; reading remembers the latest ``REMEMBERED``."""

    def __init__(self, sealer: Sealer, clock: Clock) -> None:
        self._sealer = Sealer(sealer.derive(b"session-token"))
        self._secret_key = sealer.derive(b"session-secret")
        self._clock = clock
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Claims).decode
        self._known: dict[str, Verified] = {}

    def issue(
        self, account: str, principal_arn: str, *, entity_id: str, duration_s: float
    ) -> Session:
        """New credentials for ``duration_s`` seconds; a few microseconds."""
        key_id = "ASIA" + base64.b32encode(os.urandom(10)).decode()
        expires_at = int(self._clock.now() + duration_s)
        sealed = self._sealer.seal(
            self._encode(Claims(key_id, account, principal_arn, entity_id, expires_at)), _CONTEXT
        )
        token = base64.b64encode(sealed).decode()
        return Session(Credentials(key_id, self._secret(sealed), token), expires_at)

    def read(self, access_key_id: str, token: str) -> Verified | None:
        """What the token says; ``None`` when it is forged or of another key. Raises ``ExpiredCredentials``."""
        verified = self._known.get(token)
        if verified is None:
            verified = self._opened(token)
            if verified is None:
                return None
            if len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[token] = verified
        if verified.claims.access_key_id != access_key_id:
            return None
        if verified.claims.expires_at <= self._clock.now():
            raise ExpiredCredentials
        return verified

    def _opened(self, token: str) -> Verified | None:
        if len(token) > _MAX_TOKEN:
            return None
        try:
            sealed = base64.b64decode(token, validate=True)
            claims = self._decode(self._sealer.open(sealed, _CONTEXT))
        except (binascii.Error, ValueError, StorageFailed):
            return None
        return Verified(claims, self._secret(sealed))

    def _secret(self, sealed: bytes) -> str:
        return base64.b64encode(hmac.digest(self._secret_key, sealed, "sha256")[:30]).decode()
