"""Heartbeats: what a host tells of itself, in changes and of bounded size; and what is believed of it. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec

from forerun.cluster.contract import Beat
from forerun.host import HostStats, Standing
from forerun.model import ChannelQuality, Phase

V = TypeVar("V")

ENTRIES_MAX = 2000
"""Changes of one kind in one beat; what exceeds them comes with the next ones."""

KNOWN_MAX = 200_000
"""Entries of one kind that are remembered of one host."""

TEXT_MAX = 1024
NUMBER_MAX = 2**53


class State(NamedTuple):
    """How a host is at one moment; the parts as in ``Beat``."""

    stats: HostStats
    phase: Phase
    disk_free_mb: int
    idle: Mapping[str, int]
    trees: Mapping[str, bool]
    running: Mapping[str, int]
    channels: Mapping[str, ChannelQuality]
    standings: Mapping[str, Standing]


class Telling:
    """What one control plane was told of a host, on one connection."""

    def __init__(self, most: int = ENTRIES_MAX) -> None:
        self._most = most
        self._sequence = 0
        self._idle: dict[str, int] = {}
        self._trees: dict[str, bool] = {}
        self._running: dict[str, int] = {}
        self._channels: dict[str, ChannelQuality] = {}
        self._standings: dict[str, Standing] = {}

    def beat(self, state: State, sent: float) -> Beat:
        """The next one; ``sent`` is the host's monotonic clock."""
        self._sequence += 1
        most = self._most
        return Beat(
            sequence=self._sequence,
            sent=sent,
            whole=self._sequence == 1,
            stats=state.stats,
            phase=state.phase,
            disk_free_mb=state.disk_free_mb,
            idle=changes(self._idle, state.idle, 0, most),
            trees=changes(self._trees, state.trees, False, most),  # noqa: FBT003 what says that it is gone
            running=changes(self._running, state.running, 0, most),
            channels=changes(self._channels, state.channels, None, most),
            standings=changes(self._standings, state.standings, None, most),
        )


def changes(told: dict[str, V], now: Mapping[str, V], gone: Any, most: int) -> dict[str, Any]:
    """What ``told`` lacks to be as ``now``, at most so much of it, which counts as told then; ``gone`` stands for what is no more."""
    if told == now:
        return {}
    changed: dict[str, Any] = {}
    for key, value in now.items():
        if told.get(key) != value:
            if len(changed) >= most:
                return changed
            changed[key] = told[key] = value
    for key in [key for key in told if key not in now]:
        if len(changed) >= most:
            return changed
        changed[key] = gone
        del told[key]
    return changed


def merge(known: dict[str, V], changed: Mapping[str, Any]) -> None:
    """Take over changes. Raises ``Unbelievable`` when it becomes too many."""
    for key, value in changed.items():
        if value:
            known[key] = value
        else:
            known.pop(key, None)
    if len(known) > KNOWN_MAX:
        raise Unbelievable(f"{len(known)} entries of one kind")


class Unbelievable(Exception):
    """What a host says cannot be true."""


PER_S = 50.0
BURST = 1000.0
"""Beats that may come at once, of a host that could not send for a while."""


class Pace:
    """How fast beats of one connection come; ``now`` is monotonic, in seconds. What reads them must not be kept from all else."""

    def __init__(self, now: float) -> None:
        self._left, self._at = BURST, now

    def take(self, now: float) -> None:
        """One came. Raises ``Unbelievable`` when it is one too many."""
        self._left = min(BURST, self._left + (now - self._at) * PER_S) - 1
        self._at = now
        if self._left < 0:
            raise Unbelievable("its heartbeats come far too fast")


_decoder = msgspec.msgpack.Decoder(Beat)


def read(body: bytes, host: str, last: Beat | None) -> Beat:
    """A beat of a host, of which ``last`` was the one before.

    Raises ``Unbelievable`` for what is no beat: other types, texts and tables without bound, numbers that are negative, too large
    or none, a name that is another's, a beat out of turn.
    """
    try:
        beat = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Unbelievable(f"no beat: {error}") from None
    try:
        _check(beat)
    except Unbelievable as wrong:
        raise Unbelievable(f"beat{wrong}") from None
    if beat.stats.name != host:
        raise Unbelievable(f"the stats are those of {beat.stats.name!r}")
    expected = 1 if last is None else last.sequence + 1
    if beat.sequence != expected or beat.whole != (last is None):
        raise Unbelievable(f"beat {beat.sequence}, where {expected} is due")
    if last is not None and beat.sent < last.sent:
        raise Unbelievable("its clock goes backwards")
    return beat


def _check(value: Any) -> None:
    """Each number is one, and not negative; texts and tables are of bounded size. What is wrong is told with its place."""
    kind = type(value)
    if kind is int or kind is float:
        # Nothing is true of what is no number.
        if not 0 <= value <= NUMBER_MAX:
            raise Unbelievable(f" is {value}")
    elif kind is str:
        if len(value) > TEXT_MAX:
            raise Unbelievable(f" has {len(value)} characters")
    elif kind is dict:
        _check_table(value)
    elif kind is tuple or kind is list:
        for inner in value:
            _check(inner)
    elif isinstance(value, msgspec.Struct):
        _check_fields(value)


def _check_fields(value: msgspec.Struct) -> None:
    for name in value.__struct_fields__:
        try:
            _check(getattr(value, name))
        except Unbelievable as wrong:
            raise Unbelievable(f".{name}{wrong}") from None


def _check_table(table: dict[str, Any]) -> None:
    """Most of a beat are tables of counts: these are looked at as a whole."""
    if not table:
        return
    if len(table) > 2 * ENTRIES_MAX:
        raise Unbelievable(f" has {len(table)} entries")
    _check("" if max(map(len, table)) <= TEXT_MAX else max(table, key=len))
    kinds = set(map(type, table.values()))
    if kinds == {int}:
        _check(min(table.values()))
        _check(max(table.values()))
    elif kinds != {bool}:
        for inner in table.values():
            _check(inner)
