"""What executions may depend on, how it is named, and whether all of it is as it was before."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from forerun.control.registry import Resolved
from forerun.errors import AccessDenied, ForerunError, InvalidInput
from forerun.storage.once import DependencySpec

MOST: Final = 16
DEADLINE_S: Final = 5.0
_LONGEST: Final = 4096
_LARGE: Final = 256 * 1024

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "s3": ("Bucket", "Key"),
    "http": ("Url",),
    "queue": ("Queue",),
    "directory": ("Path",),
}
"""Of each kind the members that say where it is."""


class Dependency(Protocol):
    """One kind of things that executions depend on."""

    async def state(self, account: str, where: Mapping[str, str]) -> str | None:
        """A token that is another whenever the thing is; ``None`` when that cannot be told.

        ``where`` has the members of its kind, as ``KINDS`` names them. ``InvalidInput`` and ``AccessDenied`` say that it can never
        be told to this account.
        """
        ...


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What an execution depends on: its code with its configuration, and the state of each thing."""

    code: str
    things: tuple[tuple[str, str | None], ...]

    @property
    def certain(self) -> bool:
        """Whether all of it is known."""
        return all(state is not None for _, state in self.things)


class Dependencies:
    """Asks for states, all at once, each within a deadline."""

    def __init__(self, kinds: Mapping[str, Dependency], *, deadline_s: float = DEADLINE_S) -> None:
        self._kinds = kinds
        self._deadline_s = deadline_s

    async def check(self, account: str, specs: Sequence[DependencySpec]) -> list[str | None]:
        """The states now; raises ``InvalidInput`` or ``AccessDenied`` for what can never be had."""
        return list(
            await asyncio.gather(*(self._state(account, each, strict=True) for each in specs))
        )

    async def snapshot(self, resolved: Resolved, specs: Sequence[DependencySpec]) -> Snapshot:
        """What an execution that begins now would depend on."""
        function = resolved.function
        states = await asyncio.gather(
            *(self._state(function.account, each, strict=False) for each in specs)
        )
        names = [spec_name(each) for each in specs]
        code = f"{function.sandbox_key} {function.code_sha256}"
        return Snapshot(code=code, things=tuple(zip(names, states, strict=True)))

    async def _state(self, account: str, spec: DependencySpec, *, strict: bool) -> str | None:
        kind = self._kinds.get(spec.kind)
        if kind is None:
            return None
        try:
            async with asyncio.timeout(self._deadline_s):
                return await kind.state(account, spec.where)
        except (InvalidInput, AccessDenied):
            if strict:
                raise
        except (ForerunError, TimeoutError, OSError, UnicodeError):
            pass
        return None


def read_specs(given: object) -> tuple[DependencySpec, ...]:
    """Read ``DependsOn``; ``InvalidInput`` naming the member."""
    if not isinstance(given, list) or len(given) > MOST:
        raise InvalidInput(f"DependsOn must be a list of at most {MOST} objects")
    return tuple(_read_spec(f"DependsOn[{index}]", each) for index, each in enumerate(given))


def shown_spec(spec: DependencySpec) -> dict[str, str]:
    """A dependency as users give it."""
    return {"Type": spec.kind, **spec.where}


def spec_name(spec: DependencySpec) -> str:
    """A dependency in a few words, the same for the same thing."""
    return " ".join((spec.kind, *(spec.where[each] for each in KINDS[spec.kind])))


def what_changed(before: bytes, now: Snapshot) -> str:
    """What is other than in an encoded ``Snapshot``, in words; empty when nothing is and all is known."""
    if not now.certain:
        unknown = [name for name, state in now.things if state is None]
        return f"the state of {', '.join(unknown)} cannot be told"
    known = _decode(before)
    if known.code != now.code:
        return "the code or its configuration changed"
    if [name for name, _ in known.things] != [name for name, _ in now.things]:
        return "it depends on other things"
    changed = [
        name
        for (name, state), (_, old) in zip(now.things, known.things, strict=True)
        if state != old
    ]
    return f"{', '.join(changed)} changed" if changed else ""


async def input_digest(payload: bytes, client_context: str | None) -> bytes:
    """Equal for equal inputs, however their JSON is written."""
    if len(payload) > _LARGE:
        return await asyncio.to_thread(_digest, payload, client_context)
    return _digest(payload, client_context)


def _digest(payload: bytes, client_context: str | None) -> bytes:
    context = (client_context or "").encode()
    parts = (_canonical(payload or b"{}"), _canonical(context) if context else b"")
    digest = hashlib.sha256(len(parts[0]).to_bytes(8, "big"))
    for part in parts:
        digest.update(part)
    return digest.digest()


def _canonical(text: bytes) -> bytes:
    try:
        return _canonical_encode(msgspec.json.decode(text))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return text


def _read_spec(place: str, given: Any) -> DependencySpec:
    if not isinstance(given, dict):
        raise InvalidInput(f"{place} must be an object with Type and where it is")
    kind = given.get("Type")
    if not isinstance(kind, str) or kind not in KINDS:
        raise InvalidInput(f"{place}.Type must be one of {', '.join(KINDS)}")
    members = KINDS[kind]
    if unknown := sorted(str(each) for each in given.keys() - {"Type", *members}):
        raise InvalidInput(f"{place} of Type {kind} has no member {unknown[0][:100]}")
    for member in members:
        value = given.get(member)
        if not isinstance(value, str) or not 1 <= len(value) <= _LONGEST:
            raise InvalidInput(f"{place}.{member} must be a text of 1 to {_LONGEST} characters")
        if not value.isprintable():
            raise InvalidInput(f"{place}.{member} has characters that cannot be printed")
    return DependencySpec(kind=kind, where={each: given[each] for each in members})


_canonical_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(Snapshot).decode
