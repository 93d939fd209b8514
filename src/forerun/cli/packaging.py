"""``packaging``: what a function's packages hold, what is delivered to a host of it, and why."""

import click

from forerun.cli.connection import connect
from forerun.cli.options import data_option, json_option
from forerun.cli.output import emit_json, remark, table


@click.command()
@click.argument("function")
@data_option
@json_option
def packaging(function: str, data: str | None, as_json: bool) -> None:
    """Say how the packages of FUNCTION come to a host: as one file, or as several that other functions use, too."""
    content = connect(data).get("/forerun/packaging", FunctionName=function)
    if as_json:
        emit_json(content)
        return
    for package in content["Packages"]:
        kept = "a collection" if package["Form"] == "collection" else "a single file"
        remark(
            f"{package['Package']}: {kept}, {_megabytes(package['Size'])} MB in {package['Files']} files"
        )
        table(
            ["file", "version", "MB", "files", "other functions", "expected cached %", "on host"],
            [
                [
                    each["Name"] or "the rest",
                    each["Version"],
                    _megabytes(each["Size"]),
                    each["Files"],
                    each["OtherFunctions"] if each["Object"] else "",
                    round(each["CachedShare"] * 100),
                    "yes" if each["OnHost"] else "",
                ]
                for each in package["Delivered"]
            ],
        )
        remark(
            f"expected {package['ExpectedMs']:g} ms (one file {package['SingleMs']:g}, several {package['CollectionMs']:g}): "
            f"{package['Reason']}"
        )
        if package["Planned"] != package["Form"]:
            remark(f"it is about to become {package['Planned']}")
    for warning in content["Warnings"]:
        remark(f"note: {warning}")


def _megabytes(size: int) -> float:
    return round(size / 1e6, 2)
