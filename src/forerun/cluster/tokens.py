"""Join tokens: what stands in one, what it is kept as, and why one is refused. Pure, but for making one.

A token is ``fr1.SECRET.AUTHORITY``: the secret proves that its bearer may join, and the hash of the authority's certificate proves to
the bearer that it speaks with this cluster, before it tells the secret. Only the secret's hash is kept.
"""

import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

from forerun.errors import AccessDenied, InvalidInput
from forerun.storage.trust import JoinToken

VERSION = "fr1"
SECRET_BYTES = 24
ROLES = ("host", "control")
MIN_TTL_S, MAX_TTL_S = 10.0, 30 * 86400.0
MAX_USES = 10_000

_TOKEN = re.compile(r"fr1\.([A-Za-z0-9_-]{32})\.([0-9a-f]{32})\Z")
# Some of every name is a part of a path, of a certificate and of the engine's labels.
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")


class Token(NamedTuple):
    """A token's two parts, as its bearer has it."""

    secret: str
    authority: str

    def __str__(self) -> str:
        return f"{VERSION}.{self.secret}.{self.authority}"


def parse_token(text: str) -> Token:
    """Raises ``InvalidInput`` for what is no token; the message never holds it."""
    found = _TOKEN.match(text.strip())
    if found is None:
        raise InvalidInput(
            f"The token must be of the form {VERSION}.SECRET.AUTHORITY, as `forerun token create` prints it"
        )
    return Token(found[1], found[2])


def hash_secret(secret: str) -> str:
    """What is kept of a secret. It has 192 random bits, so a plain hash cannot be guessed back."""
    return hashlib.sha256(secret.encode()).hexdigest()


def make_token(
    authority_hash: str, role: str, *, ttl_s: float, uses: int, now: float
) -> tuple[Token, JoinToken]:
    """A new one: for its bearer, and as it is kept. Raises ``InvalidInput`` naming what is out of bounds."""
    if role not in ROLES:
        raise InvalidInput(f"role must be one of {', '.join(ROLES)}, not {role[:40]!r}")
    if not MIN_TTL_S <= ttl_s <= MAX_TTL_S:
        raise InvalidInput(f"ttl must be from {MIN_TTL_S:.0f} to {MAX_TTL_S:.0f} seconds")
    if not 1 <= uses <= MAX_USES:
        raise InvalidInput(f"uses must be from 1 to {MAX_USES}")
    token = Token(secrets.token_urlsafe(SECRET_BYTES), authority_hash)
    kept = JoinToken(secrets.token_hex(4), role, uses, now + ttl_s, now, hash_secret(token.secret))
    return token, kept


def check_token(kept: JoinToken | None, secret: str, role: str, *, now: float) -> None:
    """Whether a token lets somebody join in a role. Raises ``AccessDenied`` saying why not and what to do."""
    hashed = hash_secret(secret)
    # Compared in any case, so that a stranger learns nothing from the time it takes.
    same = hmac.compare_digest(hashed, kept.hash if kept else "0" * len(hashed))
    if kept is None or not same:
        raise AccessDenied(f"The token is unknown or was revoked; {_another(role)}")
    if kept.expires <= now:
        raise AccessDenied(f"The token has expired; {_another(role)}")
    if kept.uses < 1:
        raise AccessDenied(f"The token has been used as often as it may; {_another(role)}")
    if kept.role != role:
        raise AccessDenied(f"The token is for the role {kept.role}; {_another(role)}")


def check_name(name: str) -> str:
    """A name for a host or a control plane. Raises ``InvalidInput``."""
    if not _NAME.match(name):
        raise InvalidInput(
            "name must be of 1 to 63 lower-case letters, digits and hyphens, and neither begin nor end with a hyphen"
        )
    return name


def _another(role: str) -> str:
    option = "" if role == "host" else f" --role {role}"
    return f"make another one with: forerun token create{option}"
