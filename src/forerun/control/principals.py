"""Users, roles and managed policies: made, read, changed and removed by their account, within AWS's quotas."""

import base64
import os
import re
from collections.abc import Mapping

import msgspec

from forerun.aio import Clock
from forerun.control.directory import Directory, Kind
from forerun.control.identity import QuotaExceeded
from forerun.control.policies import PolicyKind, parse_policy
from forerun.errors import AlreadyExists, InUse, InvalidInput, NotFound
from forerun.storage.identity import Entity

_NAME = re.compile(r"[\w+=,.@-]+\Z", re.ASCII)
_PATH = re.compile(r"(/|/[\x21-\x7e]+/)\Z")
_LONGEST_NAME = {"role": 64, "user": 64, "policy": 128}
_PREFIX = {"role": "AROA", "user": "AIDA", "policy": "ANPA"}
_MOST: dict[str, int] = {"role": 1000, "user": 5000, "policy": 1500}
_MOST_ATTACHED = 10
_MOST_TAGS = 50
_INLINE_BYTES = {"role": 10_240, "user": 2_048}
_TRUST_BYTES = 4_096
_POLICY_BYTES = 6_144
_SESSION_S = (3_600, 43_200)


class Principals:
    """The IAM of every account. Names are compared exactly; ``NotFound`` and ``AlreadyExists`` speak as AWS does."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock

    def get(self, account: str, kind: Kind, name: str) -> Entity:
        """One role, user or policy; ``NotFound``."""
        entity = self._directory.find(account, kind, name)
        if entity is None:
            raise NotFound(f"The {kind} with name {name} cannot be found.")
        return entity

    def list(self, account: str, kind: Kind, *, prefix: str = "/") -> list[Entity]:
        """All of a kind whose path begins with ``prefix``, by name."""
        return [
            each for each in self._directory.entities(account, kind) if each.path.startswith(prefix)
        ]

    async def create(  # noqa: PLR0913 what a role has
        self,
        account: str,
        kind: Kind,
        name: str,
        *,
        path: str | None = None,
        document: str = "",
        description: str = "",
        max_session_s: int | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Entity:
        """A new role (``document``: its trust policy), user, or policy (``document``: its text).

        Raises ``InvalidInput``, ``MalformedPolicy``, ``AlreadyExists``, ``QuotaExceeded``.
        """
        if not _NAME.match(name) or len(name) > _LONGEST_NAME[kind]:
            raise InvalidInput(
                f"The specified value for {kind}Name is invalid. It must contain only alphanumeric characters and/or "
                f"the following: +=,.@_- and have at most {_LONGEST_NAME[kind]} characters"
            )
        if not _PATH.match(path or "/") or len(path or "/") > 512:
            raise InvalidInput("The specified value for path is invalid: it begins and ends with /")
        if len(self._directory.entities(account, kind)) >= _MOST[kind]:
            raise QuotaExceeded(f"Cannot exceed quota for {kind.title()}sPerAccount: {_MOST[kind]}")
        entity = Entity(
            account=account,
            kind=kind,
            name=name,
            path=path or "/",
            id=_PREFIX[kind] + base64.b32encode(os.urandom(10)).decode(),
            created=self._clock.now(),
            document=_checked_document(kind, document),
            description=_checked_description(description),
            max_session_s=_checked_session(max_session_s),
            tags=_checked_tags(dict(tags or {})),
        )
        try:
            await self._directory.add(entity)
        except AlreadyExists:
            raise AlreadyExists(f"{kind.title()} with name {name} already exists.") from None
        return entity

    async def update(
        self,
        account: str,
        kind: Kind,
        name: str,
        *,
        document: str | None = None,
        description: str | None = None,
        max_session_s: int | None = None,
    ) -> None:
        """Change what is given and leave the rest."""

        def changed(entity: Entity) -> Entity:
            return msgspec.structs.replace(
                entity,
                document=entity.document if document is None else _checked_document(kind, document),
                description=entity.description
                if description is None
                else _checked_description(description),
                max_session_s=entity.max_session_s
                if max_session_s is None
                else _checked_session(max_session_s),
            )

        await self._directory.change(account, kind, name, changed)

    async def tag(
        self,
        account: str,
        kind: Kind,
        name: str,
        *,
        add: Mapping[str, str] | None = None,
        remove: tuple[str, ...] = (),
    ) -> None:
        """Add and remove tags."""

        def changed(entity: Entity) -> Entity:
            tags = {key: value for key, value in entity.tags.items() if key not in remove}
            return msgspec.structs.replace(entity, tags=_checked_tags(tags | dict(add or {})))

        await self._directory.change(account, kind, name, changed)

    async def delete(self, account: str, kind: Kind, name: str) -> None:
        """Remove it; ``InUse`` while it has policies or keys, or while a policy is attached somewhere."""

        def changed(entity: Entity) -> None:
            if entity.attached:
                raise InUse("Cannot delete entity, must detach all policies first.")
            if entity.inline:
                raise InUse("Cannot delete entity, must delete policies first.")
            if kind == "user" and any(
                (key.account, key.user) == (account, name) for key in self._directory.all_keys()
            ):
                raise InUse("Cannot delete entity, must delete access keys first.")
            if kind == "policy" and self.attachments(entity.arn):
                raise InUse("Cannot delete a policy attached to entities.")

        await self._directory.change(account, kind, name, changed)

    async def put_inline(
        self, account: str, kind: Kind, name: str, policy: str, document: str
    ) -> None:
        """Set an inline policy. ``MalformedPolicy``, ``QuotaExceeded``."""
        if not _NAME.match(policy) or len(policy) > 128:
            raise InvalidInput("The specified value for policyName is invalid.")
        parse_policy(document, PolicyKind.IDENTITY)

        def changed(entity: Entity) -> Entity:
            inline = entity.inline | {policy: document}
            most = _INLINE_BYTES[kind]
            if sum(len("".join(text.split())) for text in inline.values()) > most:
                raise QuotaExceeded(
                    f"Maximum policy size of {most} bytes exceeded for {kind} {name}"
                )
            return msgspec.structs.replace(entity, inline=inline)

        await self._directory.change(account, kind, name, changed)

    def inline(self, account: str, kind: Kind, name: str, policy: str) -> str:
        """The text of an inline policy; ``NotFound``."""
        document = self.get(account, kind, name).inline.get(policy)
        if document is None:
            raise _no_inline(kind, policy)
        return document

    async def delete_inline(self, account: str, kind: Kind, name: str, policy: str) -> None:
        """Remove an inline policy; ``NotFound``."""

        def changed(entity: Entity) -> Entity:
            if policy not in entity.inline:
                raise _no_inline(kind, policy)
            inline = {key: text for key, text in entity.inline.items() if key != policy}
            return msgspec.structs.replace(entity, inline=inline)

        await self._directory.change(account, kind, name, changed)

    async def attach(self, account: str, kind: Kind, name: str, policy_arn: str) -> None:
        """Attach a managed policy, AWS's or the account's own; ``NotFound``, ``QuotaExceeded``."""
        foreign = policy_arn.split(":")[4:5] not in (["aws"], [account])
        if foreign or self._directory.document(policy_arn) is None:
            raise NotFound(f"Policy {policy_arn} does not exist or is not attachable.")

        def changed(entity: Entity) -> Entity:
            if policy_arn in entity.attached:
                return entity
            if len(entity.attached) >= _MOST_ATTACHED:
                raise QuotaExceeded(
                    f"Cannot exceed quota for PoliciesPer{kind.title()}: {_MOST_ATTACHED}"
                )
            return msgspec.structs.replace(entity, attached=(*entity.attached, policy_arn))

        await self._directory.change(account, kind, name, changed)

    async def detach(self, account: str, kind: Kind, name: str, policy_arn: str) -> None:
        """Detach a managed policy; ``NotFound``."""

        def changed(entity: Entity) -> Entity:
            if policy_arn not in entity.attached:
                raise NotFound(f"Policy {policy_arn} was not found.")
            attached = tuple(arn for arn in entity.attached if arn != policy_arn)
            return msgspec.structs.replace(entity, attached=attached)

        await self._directory.change(account, kind, name, changed)

    def attachments(self, policy_arn: str) -> int:
        """To how many roles and users of its account a managed policy is attached."""
        account = policy_arn.split(":")[4]
        both: tuple[Kind, Kind] = ("role", "user")
        return sum(
            policy_arn in each.attached
            for kind in both
            for each in self._directory.entities(account, kind)
        )

    def document(self, policy_arn: str) -> str | None:
        """The text of a managed policy, AWS's or an account's."""
        return self._directory.document(policy_arn)


def _no_inline(kind: Kind, policy: str) -> NotFound:
    return NotFound(f"The {kind} policy with name {policy} cannot be found.")


def _checked_document(kind: Kind, document: str) -> str:
    if kind == "role":
        parse_policy(document, PolicyKind.TRUST)
    elif kind == "policy":
        parse_policy(document, PolicyKind.IDENTITY)
    most = _TRUST_BYTES if kind == "role" else _POLICY_BYTES
    if len("".join(document.split())) > most:
        raise QuotaExceeded(f"Cannot exceed quota for the size of the policy document: {most}")
    return document


def _checked_description(description: str) -> str:
    if len(description) > 1000:
        raise InvalidInput("The description has more than 1000 characters")
    return description


def _checked_session(seconds: int | None) -> int:
    low, high = _SESSION_S
    if seconds is None:
        return low
    if not low <= seconds <= high:
        raise InvalidInput(f"maxSessionDuration must be from {low} to {high}, not {seconds}")
    return seconds


def _checked_tags(tags: dict[str, str]) -> dict[str, str]:
    if len(tags) > _MOST_TAGS:
        raise QuotaExceeded(f"Cannot exceed quota for TagsPerResource: {_MOST_TAGS}")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise InvalidInput(f"The tag '{key}' is not valid")
    return tags
