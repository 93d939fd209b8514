"""What commands print: JSON for machines, tables for people, plain columns when nobody looks.

Results go to stdout; progress and remarks go to stderr, so that output can be piped.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

import click


def emit_json(value: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
    """Rows under headings. Columns whose every cell is a number, or ``-``, are set to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    right = [all(_numeric(row[i]) for row in cells) and bool(cells) for i in range(len(columns))]
    if sys.stdout.isatty():
        _rich_table(columns, cells, right, title)
        return
    widths = [
        max(len(column), *(len(row[i]) for row in cells)) if cells else len(column)
        for i, column in enumerate(columns)
    ]
    for line in ([column.upper() for column in columns], *cells):
        aligned = (
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        )
        click.echo("  ".join(aligned).rstrip())


def remark(text: str) -> None:
    """A line for people beside the result."""
    click.echo(text, err=True)


def milliseconds(value: float | None) -> str:
    """A duration for people: ``-`` when unknown."""
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def clock_time(epoch_s: float) -> str:
    """Local date and time of an epoch, to the millisecond."""
    local = datetime.fromtimestamp(epoch_s, tz=UTC).astimezone()
    return local.isoformat(sep=" ", timespec="milliseconds")[:23]


class Progress(Protocol):
    """Says what is being done now."""

    def __call__(self, text: str) -> None:
        """Replace what was said before."""
        ...


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Progress]:
    """Show steps while they run: a spinner on a terminal, else a line each, nothing when ``quiet``."""
    if quiet:
        yield lambda text: None
    elif sys.stderr.isatty():
        # rich costs 60 ms to import: only a terminal is worth it.
        from rich.console import Console
        from rich.markup import escape

        with Console(stderr=True).status("") as status:
            yield lambda text: status.update(escape(text))
    else:
        yield remark


def plain(text: str) -> str:
    """Text that strangers wrote, in which nothing speaks to the terminal."""
    return "".join(each if each.isprintable() else "?" for each in text)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return milliseconds(value)
    text = str(value)
    return text if text.isprintable() else plain(text)


def _numeric(text: str) -> bool:
    return text == "-" or text.replace(".", "", 1).replace("-", "", 1).isdigit()


def _rich_table(
    columns: Sequence[str], cells: list[list[str]], right: list[bool], title: str
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title or None, box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column, to_right in zip(columns, right, strict=True):
        drawn.add_column(column, justify="right" if to_right else "left", overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(text, style=_STYLES.get(text, "")) for text in row))
    Console().print(drawn)


_STYLES: dict[str, Any] = {
    "warm": "green",
    "prewarmed": "green",
    "pool": "cyan",
    "zygote": "yellow",
    "cold": "red",
    "success": "green",
    "ok": "green",
    "missing": "yellow",
    "error": "red",
    "timeout": "red",
    "throttled": "yellow",
    "declined": "cyan",
    "duplicate": "cyan",
    "alive": "green",
    "active": "green",
    "usable": "green",
    "cordoned": "yellow",
    "draining": "yellow",
    "gone": "red",
    "over": "dim",
}
