"""Tags of functions and event source mappings.

Some of them say what a function may reach, whether it is monitored, how long its events may wait, and on which hosts alone it may run.
"""

import re
from collections.abc import Sequence

from forerun.control.changes import Changes
from forerun.control.lookup import Lookup
from forerun.errors import Conflict, InvalidInput, NotFound
from forerun.model import Arn, Egress, is_zone
from forerun.storage.mappings import MappingStore
from forerun.storage.ownership import OwnershipStore

TAGS = 50
KEY_CHARACTERS = 128
VALUE_CHARACTERS = 256
EGRESS_TAG = "forerun:egress"
MONITORING_TAG = "forerun:monitoring"
DEFERRABLE_TAG = "forerun:deferrable"
ZONE_TAG = "forerun:zone"
ISOLATION_TAG = "forerun:isolation"
ISOLATION = "jail"
LONGEST_WAIT_S = 21_600
RETRIES = 5

_TEXT = re.compile(r"[\w\s.:/=+\-@]*")
_SECONDS = re.compile(r"[0-9]{1,5}", re.ASCII)
_MONITORING = re.compile(r"on|off|auto|[1-9][0-9]{0,5}|1000000")


def check_tags(tags: dict[str, str]) -> None:
    """``InvalidInput`` when there are too many, or a key or value is not acceptable."""
    if len(tags) > TAGS:
        raise InvalidInput("Number of tags exceeds resource tag limit")
    for key, value in tags.items():
        if not 1 <= len(key) <= KEY_CHARACTERS or not _TEXT.fullmatch(key):
            raise InvalidInput(
                f"Tag key '{key[:200]}' is not acceptable: 1 to {KEY_CHARACTERS} letters, digits, spaces or . : / = + - @ _"
            )
        if key.lower().startswith("aws:"):
            raise InvalidInput(f"Tag key '{key}' is not acceptable: aws: is reserved")
        if len(value) > VALUE_CHARACTERS or not _TEXT.fullmatch(value):
            raise InvalidInput(
                f"The value of tag '{key}' is not acceptable: "
                f"at most {VALUE_CHARACTERS} letters, digits, spaces or . : / = + - @ _"
            )
    egress = tags.get(EGRESS_TAG)
    if egress is not None and egress not in set(Egress):
        raise InvalidInput(f"The tag {EGRESS_TAG} must be one of {', '.join(Egress)}")
    monitoring = tags.get(MONITORING_TAG)
    if monitoring is not None and not _MONITORING.fullmatch(monitoring):
        raise InvalidInput(
            f"The tag {MONITORING_TAG} must be on, off, auto, or a number from 1 to 1000000 for one execution in so many"
        )
    deferrable = tags.get(DEFERRABLE_TAG)
    if deferrable is not None and not (
        _SECONDS.fullmatch(deferrable) and int(deferrable) <= LONGEST_WAIT_S
    ):
        raise InvalidInput(
            f"The tag {DEFERRABLE_TAG} must be a number of seconds from 0 to {LONGEST_WAIT_S} that its events may wait"
        )
    _check_where(tags)


def _check_where(tags: dict[str, str]) -> None:
    zone = tags.get(ZONE_TAG)
    if zone is not None and not is_zone(zone):
        raise InvalidInput(
            f"The tag {ZONE_TAG} must be the name of a zone: 1 to 63 letters, digits, or . _ -, the first a letter or a digit"
        )
    if tags.get(ISOLATION_TAG, ISOLATION) != ISOLATION:
        raise InvalidInput(f"The tag {ISOLATION_TAG} must be {ISOLATION}")


class Tags:
    """Lists, sets and removes tags by ARN."""

    def __init__(
        self,
        *,
        lookup: Lookup,
        ownership: OwnershipStore,
        mappings: MappingStore,
        changes: Changes,
    ) -> None:
        self._lookup = lookup
        self._ownership = ownership
        self._mappings = mappings
        self._changes = changes

    async def get(self, account: str, arn: str) -> dict[str, str]:
        """The tags of a function or a mapping."""
        kind, name = self._resource(account, arn)
        if kind == "function":
            record, _ = await self._lookup.version(account, name)
            return record.tags
        mapping = await self._mappings.find(account, name)
        if mapping is None:
            raise NotFound(f"Event source mapping not found: {arn}")
        return mapping.tags

    async def add(self, account: str, arn: str, tags: dict[str, str]) -> None:
        """Set some tags and leave the others."""
        if not tags:
            raise InvalidInput(
                "An error occurred and the request cannot be processed: no tags given"
            )
        check_tags(tags)
        await self._change(account, arn, tags, ())

    async def remove(self, account: str, arn: str, keys: Sequence[str]) -> None:
        """Remove the tags with these keys, as far as they are there."""
        await self._change(account, arn, {}, keys)

    async def _change(
        self, account: str, arn: str, added: dict[str, str], removed: Sequence[str]
    ) -> None:
        kind, name = self._resource(account, arn)
        for _ in range(RETRIES):
            old = await self.get(account, arn)
            new = {key: value for key, value in (old | added).items() if key not in removed}
            check_tags(new)
            try:
                if kind == "function":
                    await self._ownership.set_tags(account, name, new, old=old)
                    self._changes.tell(account, name)
                else:
                    await self._mappings.set_tags(name, new, old=old)
            except Conflict:
                continue
            return
        raise Conflict(f"The tags of {arn} are being changed by others; try again.")

    def _resource(self, account: str, text: str) -> tuple[str, str]:
        """``function`` or ``event-source-mapping``, and its name or id."""
        arn = Arn.parse(text)
        parts = arn.resource.split(":")
        if arn.service != "lambda" or parts[0] not in ("function", "event-source-mapping"):
            raise InvalidInput(f"The resource {text} cannot have tags; give a function's ARN.")
        if len(parts) != 2:
            raise InvalidInput(
                "Tags on function aliases and versions are not supported. Please specify either a function ARN, "
                "or an event source mapping ARN."
            )
        if arn.account != account or arn.region != self._lookup.region:
            raise NotFound(f"The resource {text} does not exist in this account and region.")
        return parts[0], parts[1]
