"""``metaevents``: rules over what the platform knows of itself; what they run, and why they did not."""

import json
from pathlib import Path
from typing import Any

import click

from forerun.cli.connection import connect
from forerun.cli.failures import Failure, Misuse
from forerun.cli.options import data_option, json_option
from forerun.cli.output import clock_time, emit_json, remark, table

SHOWN_EVALUATIONS = 10
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def metaevents() -> None:
    """Run a function because of what the platform sees: an error rate, an output, a run that did not come."""


@metaevents.command("list")
@data_option
@json_option
def list_metaevents(data: str | None, as_json: bool) -> None:
    """List the rules."""
    content = connect(data).get("/forerun/metaevents")
    if as_json:
        emit_json(content)
        return
    found = content["Metaevents"]
    if not found:
        remark(
            "There are none; make one with: forerun metaevents put NAME --absent FUNCTION --within 5m --run FUNCTION"
        )
        return
    table(
        ["name", "runs", "state", "fired", "refused", "last fired", "next look"],
        [
            [
                each["Name"],
                _function(each["Job"]),
                _state(each),
                each["Fired"],
                each["Refused"],
                _moment(each["FiredAt"]),
                _moment(each["NextMoment"]),
            ]
            for each in found
        ],
    )


@metaevents.command("put")
@click.argument("name")
@click.option("--file", type=_FILE, help="YAML or JSON with When, Job and the rest.")
@click.option("--absent", metavar="FUNCTION", help="It has not begun to run ...")
@click.option("--within", metavar="TIME", help="... for so long: 90s, 5m, 2h, 1d.")
@click.option("--on", "event", metavar="EVENT", help="Such an event happens: execution.ended, ...")
@click.option("--of", "function", metavar="FUNCTION", help="... of this function.")
@click.option("--where", metavar="CEL", help="... and this is true of it: event.status == 'error'")
@click.option("--times", type=click.IntRange(1), help="... so often ...")
@click.option("--over", metavar="TIME", help="... within so long.")
@click.option("--run", "job", metavar="FUNCTION", help="What is run then: NAME or NAME:QUALIFIER.")
@click.option("--input", "given", metavar="JSON", help="What it is given; else what held.")
@click.option("--cooldown", metavar="TIME", help="Not again for so long.")
@click.option("--description")
@click.option("--disabled", is_flag=True, help="Keep it, and judge nothing.")
@data_option
@json_option
def put(
    name: str,
    file: Path | None,
    absent: str | None,
    within: str | None,
    event: str | None,
    function: str | None,
    where: str | None,
    times: int | None,
    over: str | None,
    job: str | None,
    given: str | None,
    cooldown: str | None,
    description: str | None,
    disabled: bool,
    data: str | None,
    as_json: bool,
) -> None:
    """Make or change the rule NAME: when it holds, run a function.

    \b
    forerun metaevents put watchdog --absent backup --within 5s --run alarm
    forerun metaevents put failing --on execution.ended --of work --where "event.status == 'error'" --times 3 --over 1m --run alarm
    forerun metaevents put slow --file slow.yaml
    """
    rule = _read(file) if file else {}
    when = _absence(absent, within) or _happening(event, function, where, times, over)
    changes = {
        "When": when,
        "Job": job,
        "Input": _json(given) if given is not None else None,
        "Cooldown": cooldown,
        "Description": description,
        "Enabled": False if disabled else None,
    }
    rule |= {key: value for key, value in changes.items() if value is not None}
    if "When" not in rule or "Job" not in rule:
        raise Misuse(
            "A rule needs criteria and a job:",
            "give --absent and --within, or --on, or --file; and --run FUNCTION",
        )
    content = connect(data).post("/forerun/put-metaevent", **{**rule, "Name": name})
    if as_json:
        emit_json(content)
        return
    remark(f"{name} runs {_function(content['Metaevent']['Job'])}.")
    for line in content["Metaevent"]["Why"]:
        remark(line)


@metaevents.command("show")
@click.argument("name")
@data_option
@json_option
def show(name: str, data: str | None, as_json: bool) -> None:
    """Show the rule NAME: what holds of it now, why it did or did not run its job, and what led to that."""
    content = connect(data).get("/forerun/metaevent", Name=name)
    if as_json:
        emit_json(content)
        return
    rule = content["Metaevent"]
    table(
        ["", name],
        [
            ["runs", _function(rule["Job"])],
            ["state", _state(rule)],
            ["fired", rule["Fired"]],
            ["refused", rule["Refused"]],
            ["last fired", _moment(rule["FiredAt"])],
            ["next look", _moment(rule["NextMoment"])],
            ["last event", _event(rule["LastEvent"])],
        ],
    )
    click.echo(json.dumps(rule["When"], indent=2, ensure_ascii=False))
    for line in rule["Why"]:
        remark(line)
    _show_evaluations(rule)
    if rule["Jobs"]:
        table(
            ["job's request", "at", "chain"],
            [
                [job["RequestId"], clock_time(job["At"]), " / ".join(job["Chain"])]
                for job in rule["Jobs"]
            ],
        )


@metaevents.command("delete")
@click.argument("name")
@data_option
def delete(name: str, data: str | None) -> None:
    """Delete the rule NAME with all it remembers."""
    connect(data).post("/forerun/delete-metaevent", Name=name)
    remark(f"{name} is deleted.")


@metaevents.command("test")
@click.argument("rule", type=_FILE)
@click.argument("events", type=_FILE)
@click.option("--until", type=float, help="Seconds; default: until time alone changes nothing.")
@data_option
@json_option
def test(rule: Path, events: Path, until: float | None, data: str | None, as_json: bool) -> None:
    """Try the criteria in the file RULE on the list of events in the file EVENTS; nothing is run.

    Each event has `event`, `at` (seconds), `function` and further fields.
    """
    read, happened = _read(rule), _load(events)
    when = read.get("When", read)
    content = connect(data).post(
        "/forerun/test-metaevent",
        When=when,
        Events=happened,
        Cooldown=read.get("Cooldown"),
        Until=until,
    )
    if as_json:
        emit_json(content)
        return
    table(
        ["at", "event", "held", "runs the job", "because"],
        [
            [
                f"{step['At']:g}",
                step["Event"] or "time passed",
                "yes" if step["Held"] else "",
                "yes" if step["Fires"] else "",
                "; ".join(_said(part) for part in step["Parts"] if part["Held"]),
            ]
            for step in content["Steps"]
        ],
    )
    remark(f"It would run {len(content['Fires'])} jobs.")


def _show_evaluations(rule: dict[str, Any]) -> None:
    if not rule["Evaluations"]:
        return
    table(
        ["last looks", "times", "event", "held", "values", "came of it"],
        [
            [
                clock_time(each["Until"]),
                each["Times"],
                each["Event"] or "time passed",
                "yes" if each["Held"] else "",
                ", ".join(_value(part) for part in each["Parts"]),
                each["Refused"] or ("the job was run" if each["Job"] else ""),
            ]
            for each in rule["Evaluations"][:SHOWN_EVALUATIONS]
        ],
    )


def _absence(function: str | None, within: str | None) -> dict[str, Any] | None:
    if function is None and within is None:
        return None
    if function is None or within is None:
        raise Misuse("--absent and --within go together:", "--absent backup --within 5m")
    return {"absent": {"event": "execution.started", "function": function}, "within": within}


def _happening(
    event: str | None,
    function: str | None,
    where: str | None,
    times: int | None,
    over: str | None,
) -> dict[str, Any] | None:
    if event is None:
        if function or where or times or over:
            raise Misuse("--of, --where, --times and --over belong to --on EVENT")
        return None
    leaf = {"event": event, "function": function, "where": where}
    leaf = {key: value for key, value in leaf.items() if value is not None}
    if times is None and over is None:
        return dict(leaf)
    if times is None or over is None:
        raise Misuse("--times and --over go together:", "--times 3 --over 1m")
    return {"count": leaf, "over": over, "at_least": times}


def _read(path: Path) -> dict[str, Any]:
    content = _load(path)
    if not isinstance(content, dict):
        raise Failure(f"{path} must hold one object.")
    return content


def _load(path: Path) -> Any:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Failure(f"{path} is neither YAML nor JSON: {error}") from error
    # What YAML knows and JSON does not, such as dates, is text.
    return json.loads(json.dumps(content, default=str))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Misuse(f"--input is not JSON: {error}") from error


def _function(arn: str) -> str:
    return arn.partition(":function:")[2] or arn


def _state(rule: dict[str, Any]) -> str:
    if not rule["Enabled"]:
        return "disabled"
    return "holds" if rule["Held"] else "waits"


def _moment(at: float | None) -> str:
    return clock_time(at) if at else "-"


def _event(event: dict[str, Any] | None) -> str:
    if not event:
        return "-"
    of = f" of {event['function']}" if event["function"] else ""
    return f"{event['event']}{of}, {clock_time(event['at'])}"


def _said(part: dict[str, Any]) -> str:
    value = _value(part)
    return f"{part['Says']} ({value})" if value != "-" else str(part["Says"])


def _value(part: dict[str, Any]) -> str:
    value = part["Value"]
    if value is None:
        return "yes" if part["Held"] else "-"
    return f"{value:.4g}" if isinstance(value, float | int) else str(value)
