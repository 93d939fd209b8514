"""Everything identities are made of, in memory, as it is in the store: who exists, which keys, what they may do.

It is small by nature (quotas bound users, roles, policies and keys of an account), and every request needs it without
waiting. Writes go to the store first. What another process writes is seen after ``refresh``, which costs one small
read when nothing changed.
"""

import asyncio
import base64
import hashlib
from collections.abc import Callable, Iterable
from typing import Literal

from forerun.control.authorization import Rights
from forerun.control.managed_policies import managed_document
from forerun.control.policies import Names, Policy, PolicyKind, parse_policy
from forerun.errors import Conflict, NotFound
from forerun.storage.identity import AccessKey, Account, Entity, IdentityStore

Kind = Literal["role", "user", "policy"]
UnknownRole = Literal["allow", "deny"]
REMEMBERED = 10_000
_TRIES = 5
_NOTHING = Rights(Names(), (), {})
_DEFAULT_ROLE = parse_policy(
    {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "NotAction": ["iam:*", "sts:AssumeRole", "forerun:*"],
            "Resource": "*",
        },
    },
    PolicyKind.IDENTITY,
)


class Directory:
    """The mirror of ``IdentityStore``, and the rights of principals computed from it.

    ``unknown_role``: what a session of a role may do that no one created here. Functions that were deployed to AWS
    before come with the ARNs of roles that exist only there; with ``allow`` their sandboxes may use everything in
    their own account but identities (``iam``, ``sts:AssumeRole``) and the platform's administration; with ``deny``
    nothing. A role that was created here may do exactly what its policies say, which without policies is nothing.
    """

    def __init__(self, store: IdentityStore, *, unknown_role: UnknownRole = "allow") -> None:
        self._store = store
        self._unknown = (_DEFAULT_ROLE,) if unknown_role == "allow" else ()
        self._change = -1
        self._accounts: dict[str, Account] = {}
        self._keys: dict[str, AccessKey] = {}
        self._entities: dict[tuple[str, str, str], Entity] = {}
        self._rights: dict[str, Rights] = {}
        self._turn = asyncio.Lock()

    async def refresh(self) -> bool:
        """Read again if another process changed something; whether it did."""
        async with self._turn:
            if await self._store.changes() == self._change:
                return False
            await self._reload()
            return True

    async def _reload(self) -> None:
        loaded = await self._store.load()
        self._change = loaded.change
        self._accounts = {account.id: account for account in loaded.accounts}
        self._keys = {key.id: key for key in loaded.keys}
        self._entities = {(each.account, each.kind, each.name): each for each in loaded.entities}
        self._rights.clear()

    def accounts(self) -> list[Account]:
        """All accounts, oldest first."""
        return list(self._accounts.values())

    def all_keys(self) -> Iterable[AccessKey]:
        """All access keys, oldest first."""
        return self._keys.values()

    def key(self, key_id: str) -> AccessKey | None:
        """One access key."""
        return self._keys.get(key_id)

    def find(self, account: str, kind: Kind, name: str) -> Entity | None:
        """A role, user or managed policy of an account."""
        return self._entities.get((account, kind, name))

    def entities(self, account: str, kind: Kind) -> list[Entity]:
        """All of a kind in an account, by name."""
        found = [
            each
            for (owner, of, _), each in self._entities.items()
            if (owner, of) == (account, kind)
        ]
        return sorted(found, key=lambda each: each.name)

    async def add_account(self, account: Account, key: AccessKey) -> None:
        """A new account with its root's first key; ``AlreadyExists``."""
        async with self._turn:
            await self._store.create_account(account, key)
            await self._reload()

    async def add_key(self, key: AccessKey) -> None:
        """A new key."""
        async with self._turn:
            await self._store.create_key(key)
            await self._reload()

    async def activate_key(self, key_id: str, *, active: bool) -> None:
        """Enable or disable a key; ``Conflict`` when it is gone."""
        async with self._turn:
            await self._store.activate_key(key_id, active=active)
            await self._reload()

    async def remove_key(self, key_id: str) -> None:
        """Remove a key; ``Conflict`` when it is gone."""
        async with self._turn:
            await self._store.delete_key(key_id)
            await self._reload()

    async def add(self, entity: Entity) -> None:
        """A new role, user or policy; ``AlreadyExists``."""
        async with self._turn:
            await self._store.put(entity, new=True)
            await self._reload()

    async def change(
        self, account: str, kind: Kind, name: str, changed: Callable[[Entity], Entity | None]
    ) -> Entity:
        """Replace an entity by ``changed(entity)``, or remove it where that is ``None``; what it was made from.

        ``changed`` may be called again when another process was quicker, and may raise. Raises ``NotFound``.
        """
        async with self._turn:
            for attempt in range(_TRIES):
                entity = self.find(account, kind, name)
                if entity is None:
                    raise NotFound(f"The {kind} with name {name} cannot be found.")
                replaced = changed(entity)
                try:
                    if replaced is None:
                        await self._store.delete(entity)
                    else:
                        await self._store.put(replaced, new=False)
                except Conflict:
                    await self._reload()
                    if attempt == _TRIES - 1:
                        raise
                    continue
                await self._reload()
                return entity
        raise AssertionError("unreachable")

    def rights(self, principal_arn: str) -> Rights:
        """What a principal may do by its own policies; nothing for one that does not exist."""
        rights = self._rights.get(principal_arn)
        if rights is None:
            if len(self._rights) >= REMEMBERED:
                self._rights.clear()
            rights = self._rights[principal_arn] = self._computed(principal_arn)
        return rights

    def document(self, policy_arn: str) -> str | None:
        """The document of a managed policy, AWS's or an account's."""
        if document := managed_document(policy_arn):
            return document
        parts = policy_arn.split(":", 5)
        if len(parts) != 6 or not parts[5].startswith("policy/"):
            return None
        entity = self.find(parts[4], "policy", parts[5].rpartition("/")[2])
        return entity.document if entity is not None and entity.arn == policy_arn else None

    def _computed(self, arn: str) -> Rights:
        parts = arn.split(":", 5)
        if len(parts) != 6:
            return _NOTHING
        account, resource = parts[4], parts[5]
        if resource == "root":
            facts = _facts(account, arn, "Account", account)
            return Rights(Names((arn,), account), (), facts, root=True)
        kind, _, rest = resource.partition("/")
        if kind == "user":
            user = self.find(account, "user", rest.rpartition("/")[2])
            if user is None:
                return _NOTHING
            facts = _facts(account, arn, "User", user.id) | {"aws:username": user.name}
            return self._of(Names((arn,), account), user, facts)
        if kind == "assumed-role":
            return self._of_session(account, arn, rest)
        return _NOTHING

    def _of_session(self, account: str, arn: str, rest: str) -> Rights:
        name, _, session = rest.partition("/")
        role = self.find(account, "role", name)
        role_arn = role.arn if role is not None else f"arn:aws:iam::{account}:role/{name}"
        names = Names((arn, role_arn), account)
        identity = role.id if role is not None else unknown_role_id(role_arn)
        facts = _facts(account, role_arn, "AssumedRole", f"{identity}:{session}")
        if role is None:
            return Rights(names, self._unknown, facts)
        return self._of(names, role, facts)

    def _of(self, names: Names, entity: Entity, facts: dict[str, str]) -> Rights:
        documents = [self.document(arn) for arn in entity.attached]
        texts = [*entity.inline.values(), *(text for text in documents if text is not None)]
        policies: tuple[Policy, ...] = tuple(
            parse_policy(text, PolicyKind.IDENTITY) for text in texts
        )
        facts |= {f"aws:principaltag/{key.lower()}": tag for key, tag in entity.tags.items()}
        unrestricted = any(policy.allows_everything for policy in policies) and not any(
            not statement.allow for policy in policies for statement in policy.statements
        )
        return Rights(names, policies, facts, unrestricted=unrestricted)


def unknown_role_id(role_arn: str) -> str:
    """A stable unique id for a role that is not stored."""
    return "AROA" + base64.b32encode(hashlib.sha256(role_arn.encode()).digest()[:10]).decode()


def _facts(account: str, arn: str, kind: str, identity: str) -> dict[str, str]:
    return {
        "aws:principalarn": arn,
        "aws:principalaccount": account,
        "aws:principaltype": kind,
        "aws:userid": identity,
    }
