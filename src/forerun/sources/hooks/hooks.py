"""Webhooks as their owners manage them."""

import base64
import re
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from forerun.aio import Clock
from forerun.errors import InvalidInput, NotFound
from forerun.model import Arn, function_arn, parse_function_ref
from forerun.sources.hooks.rates import Bucket
from forerun.sources.hooks.schemes import STANDARD_PREFIX, require_secret
from forerun.storage.hooks import Hook, HookStore, Scheme, SealedSecret, TargetFormat
from forerun.storage.sealing import Sealer

MAX_HOOKS = 1000
MAX_AGE_S = 7 * 86_400.0
# GitHub signs no time: what it sent is known again for a day.
DEFAULT_AGE_S = {Scheme.GITHUB: 86_400.0}
AGE_S = 300.0
MAX_RATE = 1000.0
# What may have to be remembered of one hook; each delivery is 60 bytes or so on disk.
MAX_REMEMBERED = 10_000_000
MAX_TYPES = 20
MAX_KEPT_S = 7 * 86_400.0
REMEMBERED = 1024
GIVEN_BY_SENDER = (Scheme.STRIPE, Scheme.SLACK)
TARGETS = ("lambda", "sqs", "sns", "events")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TYPE = re.compile(r"[a-z0-9.+*-]+/[a-z0-9.+*-]+")


class HookSettings(NamedTuple):
    """What an owner wants of a hook; ``None`` for what is as usual. Seconds, and deliveries per second."""

    name: str
    target: str
    scheme: Scheme
    target_format: TargetFormat = TargetFormat.CLOUDEVENT
    secret: str | None = None
    max_age_s: float | None = None
    content_types: Sequence[str] = ()
    rate_per_s: float | None = None


class Changed(NamedTuple):
    """A hook as it is now, and a secret that is told this once; ``""`` when there is none to tell."""

    hook: Hook
    secret: str


class OpenHook(NamedTuple):
    """A hook with its secrets open, and what it may still take now."""

    hook: Hook
    secrets: tuple[tuple[str, float | None], ...]
    bucket: Bucket

    def good_secrets(self, now: float) -> list[str]:
        """Those that are good now, the newest first."""
        return [secret for secret, until in self.secrets if until is None or until > now]


class Hooks:
    """Makes, changes, finds and deletes webhooks; those of one account are named within it."""

    def __init__(self, store: HookStore, sealer: Sealer, clock: Clock, *, region: str) -> None:
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._region = region
        self._open: OrderedDict[str, OpenHook] = OrderedDict()
        self._changes = 0

    def arn(self, hook: Hook) -> str:
        """What a hook is called as a source."""
        return f"arn:aws:forerun:{self._region}:{hook.account}:hook/{hook.name}"

    def target_of(self, account: str, text: str) -> str:
        """The ARN or URL of a target, which may be a function's name; ``InvalidInput`` for anything else."""
        if text.startswith(("http://", "https://")):
            return _require_url(text)
        if not text.startswith("arn:") or text.startswith("arn:aws:lambda:"):
            ref = parse_function_ref(text)
            if ref.account not in (None, account):
                raise InvalidInput("Target must be of this account")
            return function_arn(self._region, account, ref.name, ref.qualifier)
        arn = Arn.parse(text)
        if arn.service not in TARGETS or not arn.resource:
            raise InvalidInput(
                "Target must be a URL or the ARN of a function, queue, topic or event bus"
            )
        if (arn.account, arn.region) != (account, self._region):
            raise InvalidInput("Target must be of this account and region")
        return text

    async def put(self, account: str, wanted: HookSettings) -> Changed:
        """Make a hook, or change the one of that name: it keeps its URL, and its secret if none is given.

        Raises ``InvalidInput`` naming the field.
        """
        if not _NAME.fullmatch(wanted.name):
            raise InvalidInput("Name must have 1 to 64 letters, digits, hyphens and underscores")
        found = await self._store.find(account, wanted.name)
        if found is None and len(await self._store.list(account, MAX_HOOKS)) >= MAX_HOOKS:
            raise InvalidInput(f"An account may have {MAX_HOOKS} hooks")
        now = self._clock.now()
        hook_id = found.id if found is not None else secrets.token_urlsafe(24)
        told, sealed = self._secrets_of(wanted, found, hook_id)
        hook = Hook(
            account=account,
            name=wanted.name,
            id=hook_id,
            target=self.target_of(account, wanted.target),
            scheme=wanted.scheme,
            target_format=wanted.target_format,
            max_age_s=_age_of(wanted),
            content_types=_types_of(wanted.content_types),
            rate_per_s=_rate_of(wanted),
            secrets=sealed,
            created=found.created if found is not None else now,
            changed=now,
        )
        if hook.max_age_s * hook.rate_per_s > MAX_REMEMBERED:
            raise InvalidInput(
                f"MaxAgeSeconds times RatePerSecond may be {MAX_REMEMBERED}: every delivery is remembered for so long"
            )
        await self._store.put(hook)
        self._forget(hook_id)
        return Changed(hook, told)

    async def rotate(self, account: str, name: str, secret: str | None, keep_s: float) -> Changed:
        """Give a hook another secret; the one before is good for ``keep_s`` seconds more."""
        hook = await self.get(account, name)
        if hook.scheme is Scheme.NONE:
            raise InvalidInput(f"The hook {name} has no secret: its scheme is none")
        if not 0 <= keep_s <= MAX_KEPT_S:
            raise InvalidInput(f"KeepSeconds must be 0 to {MAX_KEPT_S:g}")
        now = self._clock.now()
        fresh, told = _new_secret(hook.scheme, secret)
        kept = [SealedSecret(each.sealed, now + keep_s) for each in hook.secrets[:1] if keep_s]
        made = SealedSecret(self._sealer.seal(fresh.encode(), _context(hook.id)))
        changed = msgspec.structs.replace(hook, secrets=(made, *kept), changed=now)
        await self._store.put(changed)
        self._forget(hook.id)
        return Changed(changed, told)

    async def get(self, account: str, name: str) -> Hook:
        """A hook by its name; ``NotFound``."""
        hook = await self._store.find(account, name)
        if hook is None:
            raise NotFound(f"There is no hook {name[:64]}; list them with: forerun hooks list")
        return hook

    async def list(self, account: str) -> list[Hook]:
        """An account's hooks, by name."""
        return await self._store.list(account, MAX_HOOKS)

    async def delete(self, account: str, name: str) -> None:
        """Delete one; ``NotFound``."""
        hook = await self.get(account, name)
        await self._store.remove(hook)
        self._forget(hook.id)

    async def open(self, hook_id: str) -> OpenHook:
        """The hook at a URL, ready to check what comes; ``NotFound``."""
        known = self._open.get(hook_id)
        if known is not None:
            self._open.move_to_end(hook_id)
            return known
        changes = self._changes
        hook = await self._store.by_id(hook_id)
        if hook is None:
            raise NotFound("There is no such hook")
        opened = OpenHook(
            hook,
            tuple(
                (self._sealer.open(each.sealed, _context(hook.id)).decode(), each.until)
                for each in hook.secrets
            ),
            Bucket(hook.rate_per_s),
        )
        if changes == self._changes:
            # The one that is kept is the one whose rate counts.
            opened = self._open.setdefault(hook_id, opened)
            if len(self._open) > REMEMBERED:
                self._open.popitem(last=False)
        return opened

    def _forget(self, hook_id: str) -> None:
        self._changes += 1
        self._open.pop(hook_id, None)

    def _secrets_of(
        self, wanted: HookSettings, found: Hook | None, hook_id: str
    ) -> tuple[str, tuple[SealedSecret, ...]]:
        if wanted.scheme is Scheme.NONE:
            if wanted.secret:
                raise InvalidInput("Secret is of no use with the scheme none; leave it out")
            return "", ()
        if found is not None and found.scheme is wanted.scheme and wanted.secret is None:
            return "", found.secrets
        fresh, told = _new_secret(wanted.scheme, wanted.secret)
        return told, (SealedSecret(self._sealer.seal(fresh.encode(), _context(hook_id))),)


def _new_secret(scheme: Scheme, given: str | None) -> tuple[str, str]:
    """A secret, and what of it is to be told: nothing where the owner knows it."""
    if given is not None:
        require_secret(scheme, given)
        return given, ""
    if scheme in GIVEN_BY_SENDER:
        raise InvalidInput(f"Secret is missing: with the scheme {scheme} it is the sender's")
    drawn = secrets.token_bytes(32)
    made = drawn.hex()
    if scheme is Scheme.STANDARD:
        made = STANDARD_PREFIX + base64.b64encode(drawn).decode()
    return made, made


def _context(hook_id: str) -> bytes:
    return b"hook:" + hook_id.encode()


def _age_of(wanted: HookSettings) -> float:
    age = wanted.max_age_s
    if age is None:
        return DEFAULT_AGE_S.get(wanted.scheme, AGE_S)
    if not 1 <= age <= MAX_AGE_S:
        raise InvalidInput(f"MaxAgeSeconds must be 1 to {MAX_AGE_S:g}")
    return age


def _rate_of(wanted: HookSettings) -> float:
    if wanted.rate_per_s is None:
        return 100.0
    if not 0.01 <= wanted.rate_per_s <= MAX_RATE:
        raise InvalidInput(f"RatePerSecond must be 0.01 to {MAX_RATE:g}")
    return wanted.rate_per_s


def _types_of(given: Sequence[str]) -> tuple[str, ...]:
    if len(given) > MAX_TYPES:
        raise InvalidInput(f"ContentTypes may have {MAX_TYPES} members")
    types = tuple(each.strip().lower() for each in given)
    for each in types:
        if not _TYPE.fullmatch(each) or len(each) > 128:
            raise InvalidInput(f"ContentTypes: {each[:100]!r} is no media type")
    return types


def _require_url(text: str) -> str:
    try:
        url = urlsplit(text)
        good = bool(url.hostname) and (url.port or 1) > 0
    except ValueError:
        good = False
    if not good or len(text) > 2048 or not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidInput("Target is no URL that can be called")
    return text
