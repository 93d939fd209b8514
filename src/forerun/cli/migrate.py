"""``migrate``: a single machine's state into the database of a cluster."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from forerun.cli.failures import Failure
from forerun.cli.options import json_option
from forerun.cli.output import emit_json, remark, table
from forerun.errors import ForerunError
from forerun.settings import Settings


@click.command()
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Where the state is now. Default: $FORERUN_DATA, else ~/.local/share/forerun.",
)
@click.option(
    "--to",
    "target",
    metavar="URL",
    required=True,
    envvar="FORERUN_CLUSTER_DATABASE",
    help="postgresql://USER:PASSWORD@HOST/NAME, an empty database. Default: $FORERUN_CLUSTER_DATABASE.",
)
@click.option("--check", is_flag=True, help="Only say whether it can be done, and what there is.")
@json_option
def migrate(data: str | None, target: str, check: bool, as_json: bool) -> None:
    """Move the state of a single machine into PostgreSQL, for a cluster.

    All rows and all files are copied and then compared. The server must not run meanwhile. After a failure start it again: it
    begins anew, and control planes refuse the database until all of it is there. The data directory keeps what it
    has; start with it next: forerun up --cluster --database URL --data DIR.
    """
    # The databases: no other command needs them.
    from forerun.app import move

    directory = Settings.load(server_data_dir=data).server.data_dir
    try:
        with _bar(quiet=as_json) as told:
            moved = move(Path(directory), target, told, check=check)
    except ForerunError as error:
        raise Failure(error.message) from error
    if as_json:
        emit_json({"Moved": not check} | msgspec.to_builtins(moved))
        return
    table(
        ["database", "table", "rows"],
        [[each.database, each.table, each.rows] for each in moved.tables if each.rows],
    )
    rows = sum(each.rows for each in moved.tables)
    what = f"{rows} rows and {moved.files} files of {moved.bytes} bytes"
    remark(
        f"It can be moved: {what}."
        if check
        else f"Moved and compared: {what}. Start it: forerun up --cluster --database URL --data {directory}"
    )


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on a terminal; else a line for each step."""
    if quiet:
        yield lambda _what, _done, _of: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("", total=None)
            yield lambda what, done, of: progress.update(
                task, description=what, completed=done, total=of
            )
    else:
        said: set[str] = set()

        def tell(what: str, _done: int, of: int) -> None:
            if what not in said:
                said.add(what)
                remark(f"{what} ({of})")

        yield tell
