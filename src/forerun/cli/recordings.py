"""Opens the files of a recording: ``.csv`` and ``.csv.gz`` of one folder, told apart by the names of their columns."""

import gzip
import zlib
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TextIO

from forerun.errors import InvalidInput
from forerun.prediction.replay import (
    ByCalls,
    ByMinutes,
    MinuteReader,
    Schema,
    Sizes,
    Source,
    read_calls,
    schema_of,
)

# A line has a cell for each minute of a day at most; one that does not end is none.
LONGEST_LINE = 1 << 20
MOST_FILES = 1000


def read_folder(folder: Path, *, memory_mb: float, start_ms: float) -> ByMinutes | ByCalls:
    """What a folder holds; ``memory_mb`` and ``start_ms`` stand for what it does not tell.

    Raises ``InvalidInput`` with file and line for what cannot be read.
    """
    skipped: Counter[str] = Counter()
    with ExitStack() as opened:
        found: dict[Schema, list[Source]] = {}
        for path in _paths(folder):
            source = Source(path.name, opened.enter_context(closing(_lines(path))))
            schema = schema_of(source.header)
            if schema is None:
                skipped["files of unknown schema"] += 1
            else:
                found.setdefault(schema, []).append(source)
        if Schema.MINUTES in found and Schema.CALLS in found:
            names = f"{found[Schema.MINUTES][0].name} and {found[Schema.CALLS][0].name}"
            raise InvalidInput(f"{names} are of different recordings; put them into folders apart")
        if Schema.CALLS in found:
            return read_calls(found[Schema.CALLS], skipped, memory_mb=memory_mb, start_ms=start_ms)
        if Schema.MINUTES not in found:
            raise InvalidInput(
                f"{folder}: no file tells calls, neither per minute (HashFunction and a column for each minute) "
                "nor one by one (app, func, end_timestamp, duration)"
            )
        sizes = Sizes(memory_mb)
        for source in found.get(Schema.MEMORY, []):
            sizes.read(source, skipped)
        reader = MinuteReader(sizes, start_ms=start_ms)
        for source in found[Schema.MINUTES]:
            reader.add(source)
        return reader.read(skipped)


def _paths(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InvalidInput(f"{folder} is not a folder")
    paths = sorted(path for path in folder.iterdir() if path.name.endswith((".csv", ".csv.gz")))
    if not paths:
        raise InvalidInput(f"{folder} has no .csv or .csv.gz file")
    if len(paths) > MOST_FILES:
        raise InvalidInput(f"{folder} has {len(paths)} tables; {MOST_FILES} are the most")
    return paths


def _lines(path: Path) -> Generator[str]:
    """The lines of a file, packed or not; what is wrong with it as an error with its name and the line."""
    number = 1
    try:
        with _opened(path) as file:
            while line := file.readline(LONGEST_LINE):
                if len(line) == LONGEST_LINE:
                    raise InvalidInput(
                        f"{path.name}, line {number}: longer than {LONGEST_LINE} characters"
                    )
                yield line
                number += 1
    except UnicodeDecodeError:
        raise InvalidInput(f"{path.name}, line {number} or after: not UTF-8") from None
    except EOFError:
        raise InvalidInput(f"{path.name}, line {number}: the file is cut off here") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InvalidInput(f"{path.name}, line {number}: damaged: {error}") from None
    except OSError as error:
        raise InvalidInput(f"{path.name}, line {number}: {error.strerror}") from error


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")
