"""``folders``: watched directories, whose files somebody is told of."""

from pathlib import Path

import click

from forerun.cli.connection import connect
from forerun.cli.options import data_option, json_option
from forerun.cli.output import clock_time, emit_json, remark, table


@click.group()
def folders() -> None:
    """Have a function run, or somebody else told, when files come, change or go."""


@folders.command("list")
@data_option
@json_option
def list_folders(data: str | None, as_json: bool) -> None:
    """List the watched directories."""
    found = connect(data).get("/forerun/folders")["Folders"]
    if as_json:
        emit_json(found)
        return
    if not found:
        remark("No directory is watched; forerun folders put NAME PATH TARGET makes one so.")
        return
    table(
        ["name", "path", "pattern", "events", "target", "files", "waiting", "last told"],
        [
            [
                each["Name"],
                each["Path"],
                each["Pattern"] or "all",
                ", ".join(each["Events"]),
                each["Target"],
                each["Files"],
                each["Waiting"],
                clock_time(each["LastTold"])[:19] if each["LastTold"] else "-",
            ]
            for each in found
        ],
    )
    for each in found:
        if each["Trouble"]:
            remark(f"{each['Name']}: {each['Trouble']}")


@folders.command("put")
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("target")
@click.option("--pattern", metavar="GLOB", help="Only such files, as '*.csv'. Default: all.")
@click.option(
    "--event",
    "events",
    multiple=True,
    type=click.Choice(["created", "modified", "deleted"]),
    help="What to tell; may be given several times. Default: created and modified.",
)
@click.option("--flat", is_flag=True, help="Leave subdirectories out.")
@click.option(
    "--settle", type=float, metavar="SECONDS", help="How long a file must rest. Default: 1."
)
@click.option(
    "--scan",
    type=float,
    metavar="SECONDS",
    help="How often all of it is looked through, beside the kernel's notices. Default: 60.",
)
@click.option("--existing", is_flag=True, help="Tell of the files that are there already, too.")
@data_option
@json_option
def put_folder(
    name: str,
    path: Path,
    target: str,
    *,
    pattern: str | None,
    events: tuple[str, ...],
    flat: bool,
    settle: float | None,
    scan: float | None,
    existing: bool,
    data: str | None,
    as_json: bool,
) -> None:
    """Watch the directory PATH of the server's machine and tell TARGET, a function, an ARN or a URL.

    Which directories may be watched is set by the operator: events.folders in forerun.toml.
    """
    answer = connect(data).post(
        "/forerun/put-folder",
        Name=name,
        Path=str(path.absolute()),
        Target=target,
        Pattern=pattern,
        Events=list(events) or None,
        Recursive=not flat,
        SettleSeconds=settle,
        ScanSeconds=scan,
        Existing=existing,
    )
    if as_json:
        emit_json(answer["Folder"])
    else:
        folder = answer["Folder"]
        remark(f"{folder['Path']} is watched; {folder['Target']} is told.")


@folders.command("delete")
@click.argument("name")
@data_option
def delete_folder(name: str, data: str | None) -> None:
    """Watch the directory called NAME no more; its files stay."""
    connect(data).post("/forerun/delete-folder", Name=name)
    remark(f"{name} is watched no more.")
