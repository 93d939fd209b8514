"""Who may sign requests: accounts, access keys, and the short-lived credentials of sandboxes and assumed roles.

Looking up credentials never waits: it is done for every request. Access keys are in memory (see ``Directory``); a key
that another process made or disabled counts after the next ``refresh``. Session tokens carry what is needed.
"""

import base64
import os
import re
import secrets
from typing import NamedTuple

from forerun.aio import Clock
from forerun.control.directory import Directory
from forerun.control.sessions import Session, SessionTokens
from forerun.errors import (
    AccessDenied,
    AlreadyExists,
    Conflict,
    ForerunError,
    InvalidInput,
    NotFound,
)
from forerun.model import Arn
from forerun.storage.identity import AccessKey, Account

DEFAULT_ACCOUNT = "100000000000"
MAX_KEYS = 2
MAX_ROOT_KEYS = 100
_ACCOUNT = re.compile(r"\d{12}\Z")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}\Z")
_NOT_SESSION_NAME = re.compile(r"[^\w+=,.@-]", re.ASCII)


class QuotaExceeded(ForerunError):
    """The account has as many of these as it may have."""


class Identity(NamedTuple):
    """Whose credentials these are, and the secret they sign with. ``expires_at`` is epoch seconds, or ``None``."""

    access_key_id: str
    account: str
    principal_arn: str
    secret: str
    expires_at: int | None = None


class Identities:
    """Accounts and credentials."""

    def __init__(self, directory: Directory, tokens: SessionTokens, clock: Clock) -> None:
        self._directory = directory
        self._tokens = tokens
        self._clock = clock

    async def start(self) -> AccessKey:
        """Read what is stored; at the first start make the default account. The oldest active key of a root."""
        await self._directory.refresh()
        if not self._directory.accounts():
            return (await self.create_account("default", account_id=DEFAULT_ACCOUNT))[1]
        for key in self._directory.all_keys():
            if key.active and not key.user:
                return key
        return await self.create_key(self._directory.accounts()[0].id)

    async def refresh(self) -> bool:
        """See what other processes changed; to be called every second or so."""
        return await self._directory.refresh()

    def lookup(self, access_key_id: str, session_token: str | None = None) -> Identity | None:
        """Whose credentials these are; ``None`` when unknown, disabled, forged, or their owner was deleted.

        Raises ``ExpiredCredentials`` for a session that has ended.
        """
        if not session_token:
            key = self._directory.key(access_key_id)
            if key is None or not key.active:
                return None
            arn = self._arn(key)
            return None if arn is None else Identity(key.id, key.account, arn, key.secret)
        verified = self._tokens.read(access_key_id, session_token)
        if verified is None:
            return None
        claims = verified.claims
        # A role that was made after the session began bounds it from now on; one that was deleted ends it.
        if claims.entity_id and claims.entity_id != self._entity_id(claims.principal_arn):
            return None
        return Identity(
            claims.access_key_id,
            claims.account,
            claims.principal_arn,
            verified.secret,
            claims.expires_at,
        )

    def issue_session(self, principal_arn: str, *, duration_s: float) -> Session:
        """Temporary credentials of a root, a user, or an assumed role's session (``...:assumed-role/ROLE/NAME``)."""
        return self._tokens.issue(
            Arn.parse(principal_arn).account,
            principal_arn,
            entity_id=self._entity_id(principal_arn),
            duration_s=duration_s,
        )

    def issue_for_function(
        self, account: str, role_arn: str, function: str, *, duration_s: float
    ) -> Session:
        """Credentials of a function's sandbox: a session of its role, named after the function.

        Raises ``AccessDenied`` for a role of another account: who deploys a function must not become somebody else.
        """
        role = Arn.parse(role_arn)
        if role.account != account:
            raise AccessDenied("Cross-account pass role is not allowed.")
        name = role.resource.rpartition("/")[2]
        return self.issue_session(
            session_arn(account, name, session_name(function)), duration_s=duration_s
        )

    def user_id(self, principal_arn: str) -> str:
        """AWS's unique id of a principal (``AROA...:session``, ``AIDA...``, or the account of a root)."""
        rights = self._directory.rights(principal_arn)
        return rights.facts.get("aws:userid", "")

    def accounts(self) -> list[Account]:
        """All accounts, oldest first."""
        return self._directory.accounts()

    async def create_account(
        self, name: str, *, account_id: str | None = None
    ) -> tuple[Account, AccessKey]:
        """A new account and its root's first key. ``InvalidInput``, ``AlreadyExists``."""
        if not _NAME.match(name):
            raise InvalidInput("An account's name has 1 to 100 printable characters")
        identifier = account_id or f"{secrets.randbelow(9 * 10**11) + 10**11}"
        if not _ACCOUNT.match(identifier):
            raise InvalidInput(f"An account's id has 12 digits; '{identifier}' has not")
        account = Account(identifier, name, self._clock.now())
        key = self._new_key(identifier, "")
        try:
            await self._directory.add_account(account, key)
        except AlreadyExists:
            raise AlreadyExists(f"There is an account {identifier} already") from None
        return account, key

    async def create_key(self, account: str, user: str = "") -> AccessKey:
        """A new key of a user, or of the account's root. ``NotFound``, ``QuotaExceeded``."""
        self._check_owner(account, user)
        most = MAX_KEYS if user else MAX_ROOT_KEYS
        if len(self.keys(account, user)) >= most:
            raise QuotaExceeded(f"Cannot exceed quota for AccessKeysPerUser: {most}")
        key = self._new_key(account, user)
        await self._directory.add_key(key)
        return key

    def keys(self, account: str, user: str = "") -> list[AccessKey]:
        """The keys of a user, or of the account's root. ``NotFound``."""
        self._check_owner(account, user)
        return [
            key for key in self._directory.all_keys() if (key.account, key.user) == (account, user)
        ]

    def key(self, access_key_id: str) -> AccessKey | None:
        """One access key, whoever owns it."""
        return self._directory.key(access_key_id)

    async def activate_key(
        self, account: str, access_key_id: str, *, active: bool, user: str = ""
    ) -> None:
        """Enable or disable a key; a disabled one is refused at once. ``NotFound``."""
        self._check_key(account, access_key_id, user)
        try:
            await self._directory.activate_key(access_key_id, active=active)
        except Conflict:
            raise _no_key(access_key_id) from None

    async def delete_key(self, account: str, access_key_id: str, *, user: str = "") -> None:
        """Remove a key; it is refused at once. ``NotFound``."""
        self._check_key(account, access_key_id, user)
        try:
            await self._directory.remove_key(access_key_id)
        except Conflict:
            raise _no_key(access_key_id) from None

    def _new_key(self, account: str, user: str) -> AccessKey:
        return AccessKey(
            id="AKIA" + base64.b32encode(os.urandom(10)).decode(),
            account=account,
            user=user,
            secret=base64.b64encode(os.urandom(30)).decode(),
            created=self._clock.now(),
        )

    def _check_owner(self, account: str, user: str) -> None:
        if user and self._directory.find(account, "user", user) is None:
            raise NotFound(f"The user with name {user} cannot be found.")
        if all(each.id != account for each in self._directory.accounts()):
            raise NotFound(f"There is no account {account}")

    def _check_key(self, account: str, access_key_id: str, user: str) -> None:
        key = self._directory.key(access_key_id)
        if key is None or (key.account, key.user) != (account, user):
            raise _no_key(access_key_id)

    def _arn(self, key: AccessKey) -> str | None:
        if not key.user:
            return f"arn:aws:iam::{key.account}:root"
        user = self._directory.find(key.account, "user", key.user)
        return None if user is None else user.arn

    def _entity_id(self, principal_arn: str) -> str:
        """The unique id of the stored user or role behind a principal; empty when none is stored."""
        account, resource = principal_arn.split(":", 5)[4:]
        kind, _, rest = resource.partition("/")
        if kind == "assumed-role":
            entity = self._directory.find(account, "role", rest.partition("/")[0])
        else:
            entity = self._directory.find(account, "user", rest.rpartition("/")[2])
        return entity.id if entity is not None else ""


def session_arn(account: str, role: str, name: str) -> str:
    """The ARN of a role's session."""
    return f"arn:aws:sts::{account}:assumed-role/{role}/{name}"


def session_name(text: str) -> str:
    """``text`` as a session name: 1 to 64 of the allowed characters."""
    return _NOT_SESSION_NAME.sub("-", text)[:64] or "-"


def _no_key(access_key_id: str) -> NotFound:
    return NotFound(f"The Access Key with id {access_key_id} cannot be found.")


__all__ = [
    "DEFAULT_ACCOUNT",
    "Identities",
    "Identity",
    "QuotaExceeded",
    "session_arn",
    "session_name",
]
