"""Fetches what the functions of an account did, for replay, in stretches that a server answers at once."""

from collections.abc import Iterator

import msgspec

from forerun.aio.clock import SystemClock
from forerun.cli.connection import Connection, connect
from forerun.cli.logs import parse_age
from forerun.errors import InvalidInput
from forerun.prediction.replay import ByMinutes, History, Sample, from_history

STRETCH_S = 6 * 3600
LONGEST_S = 366 * 86_400


def read_history(
    data: str | None, since: str, *, memory_mb: float | None, start_ms: float | None
) -> ByMinutes:
    """From the first minute of which anything is known within ``since`` (an age as ``2d``) to the one under way.

    ``memory_mb`` and ``start_ms`` take the place of what was measured. Raises ``InvalidInput`` when nothing is known.
    """
    age_s = parse_age(since) // 1000
    if age_s > LONGEST_S:
        raise InvalidInput(f"--since may be {LONGEST_S // 86_400}d at most")
    until = int(SystemClock.now()) // 60 * 60 + 60
    found: dict[str, Sample] = {}
    for stretch in _stretches(connect(data), until - age_s, until):
        for sample in stretch.functions:
            known = found.get(sample.name)
            calls = sample.calls if known is None else known.calls + sample.calls
            found[sample.name] = msgspec.structs.replace(sample, calls=calls)
    functions = [_priced(sample, memory_mb, start_ms) for sample in found.values() if sample.calls]
    if not functions:
        raise InvalidInput(f"Nothing was called in the last {since}")
    first = min(minute for sample in functions for minute, _ in sample.calls)
    return from_history(History(first, until // 60, functions))


def _stretches(connection: Connection, since: int, until: int) -> Iterator[History]:
    for begin in range(since, until, STRETCH_S):
        end = min(begin + STRETCH_S, until)
        answer = connection.get("/forerun/history", Since=begin, Until=end)
        try:
            yield msgspec.convert(answer, History)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"The server's history cannot be read: {error}") from error


def _priced(sample: Sample, memory_mb: float | None, start_ms: float | None) -> Sample:
    return msgspec.structs.replace(
        sample,
        memory_mb=sample.memory_mb if memory_mb is None else memory_mb,
        start_ms=sample.start_ms if start_ms is None else start_ms,
    )
