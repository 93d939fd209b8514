"""``simulate``: what policies would have done to recorded calls, in figures and as a curve."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from forerun.cli.curves import Dot, drawn, picture
from forerun.cli.failures import Misuse
from forerun.cli.options import data_option, json_option
from forerun.cli.output import Progress, emit_json, progress, remark, table
from forerun.errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from forerun.prediction.replay import ByCalls, ByMinutes, Result

_COLUMNS = (
    "policy",
    "cold",
    "cold %",
    "wasted GB-min",
    "q50 %",
    "q75 %",
    "added s",
    "peak GB",
    "s",
)
_MOST_HOSTS = 100_000


class _Asked(NamedTuple):
    """What the options say."""

    names: Sequence[str]
    curve: Mapping[str, tuple[str, float]]
    train: int
    memory_mb: float | None
    hosts: int
    jobs: int

    @property
    def every(self) -> list[str]:
        """The names of all policies to replay, each once."""
        return list(dict.fromkeys([*self.names, *self.curve]))


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--history", is_flag=True, help="Replay what this account's functions did.")
@click.option(
    "--since",
    default="2d",
    show_default=True,
    metavar="AGE",
    help="How much history; minutes are kept for two days.",
)
@click.option(
    "--train",
    default=0,
    show_default=True,
    type=click.IntRange(0, 1_000_000),
    metavar="MINUTES",
    help="Learn from the first minutes without counting them.",
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="NAME",
    help="Only these: forerun, fixed-MINUTES, hybrid, greedy-dual, clairvoyant; forerun-2 at twice its price.",
)
@click.option(
    "--memory",
    "memory_mb",
    type=click.FloatRange(1, 1e9),
    metavar="MB",
    help="What each host has for sandboxes.",
)
@click.option("--hosts", default=1, show_default=True, type=click.IntRange(1, _MOST_HOSTS))
@click.option(
    "--start-ms",
    type=click.FloatRange(0, 1e6),
    metavar="MS",
    help="What a start costs, where it is not known. Default: 1000 in recordings of clouds.",
)
@click.option(
    "--sandbox-mb",
    type=click.FloatRange(1, 1e6),
    metavar="MB",
    help="What a sandbox takes, where it is not known. Default: 128.",
)
@click.option(
    "--no-curve", is_flag=True, help="Leave out the curve: the figures alone are sooner there."
)
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Draw the curve here.")
@click.option(
    "--jobs", default=0, type=click.IntRange(0, 1024), help="Processes. Default: one per core."
)
@data_option
@json_option
def simulate(
    *,
    folder: Path | None,
    history: bool,
    since: str,
    train: int,
    policies: tuple[str, ...],
    memory_mb: float | None,
    hosts: int,
    start_ms: float | None,
    sandbox_mb: float | None,
    no_curve: bool,
    svg: Path | None,
    jobs: int,
    data: str | None,
    as_json: bool,
) -> None:
    """Replay the recorded calls in FOLDER, or with --history your own, through policies of keep-alive.

    FOLDER holds .csv or .csv.gz in the schema of Azure's public traces: calls per minute (2019) or one by one (2021).
    Wasted is memory that idled; q50 and q75 are quantiles over functions of the share of calls that started cold.
    """
    if history == (folder is not None):
        raise click.UsageError("Say what to replay: a FOLDER, or --history.")
    if svg and no_curve:
        raise click.UsageError("--svg draws the curve, --no-curve leaves it out.")
    asked = _asked(policies, train, memory_mb, hosts, jobs, curve=not no_curve)
    with progress(quiet=as_json or not sys.stderr.isatty()) as told:
        told("reading")
        try:
            recording = _recording(folder, since, data, sandbox_mb, start_ms)
            results, trace = _replayed(recording, asked, told)
        except InvalidInput as error:
            raise Misuse(error.message) from error
    dots = [
        Dot(series, f"{dial:g}", results[name].wasted_gb_minutes, results[name].cold_starts)
        for name, (series, dial) in asked.curve.items()
    ]
    if svg:
        svg.write_text(picture(dots, "What can be had for how much"), encoding="utf-8")
    if as_json:
        emit_json(_document(asked, results, recording.skipped, trace))
    else:
        _show([results[name] for name in asked.names], recording.skipped, trace, dots)


def _asked(
    policies: Sequence[str],
    train: int,
    memory_mb: float | None,
    hosts: int,
    jobs: int,
    *,
    curve: bool,
) -> _Asked:
    from forerun.prediction.replay import CURVE_MINUTES, CURVE_PRICES, DEFAULT, check_policy

    names = list(dict.fromkeys(policies or DEFAULT))
    try:
        for name in names:
            check_policy(name)
    except InvalidInput as error:
        raise click.BadParameter(error.message, param_hint="--policy") from error
    dials: dict[str, tuple[str, float]] = {}
    if curve:
        dials = {_named("forerun", price): ("forerun", price) for price in CURVE_PRICES}
        dials |= {_named("fixed", minutes): ("fixed", minutes) for minutes in CURVE_MINUTES}
    return _Asked(names, dials, train, memory_mb, hosts, jobs)


def _named(series: str, dial: float) -> str:
    return series if series == "forerun" and dial == 1.0 else f"{series}-{dial:g}"


def _recording(
    folder: Path | None,
    since: str,
    data: str | None,
    sandbox_mb: float | None,
    start_ms: float | None,
) -> "ByMinutes | ByCalls":
    from forerun.prediction.replay import USUAL_MEMORY_MB, USUAL_START_MS

    if folder is not None:
        from forerun.cli.recordings import read_folder

        return read_folder(
            folder,
            memory_mb=sandbox_mb or USUAL_MEMORY_MB,
            start_ms=USUAL_START_MS if start_ms is None else start_ms,
        )
    from forerun.cli.history import read_history

    return read_history(data, since, memory_mb=sandbox_mb, start_ms=start_ms)


def _replayed(
    recording: "ByMinutes | ByCalls", asked: _Asked, told: Progress
) -> tuple[dict[str, "Result"], dict[str, Any]]:
    """Results by name, and what was replayed in figures."""
    from forerun.cli.prepared import make_holding
    from forerun.cli.replaying import replay, tasks_of
    from forerun.prediction.replay import ByMinutes, CallHost, Host, spread

    trace: dict[str, Any] = {"functions": len(recording.functions), "train": asked.train}
    hosts: Sequence[Host | CallHost]
    if isinstance(recording, ByMinutes):
        minutes, calls = recording.minutes, sum(sum(each.counts) for each in recording.functions)
        hosts = spread(recording, asked.hosts, train=asked.train, memory_mb=asked.memory_mb)
    else:
        if asked.hosts > 1:
            raise InvalidInput("--hosts is for recordings by the minute")
        minutes, calls = -int(-(recording.end_s - recording.first_s) // 60), len(recording.calls)
        count_from = recording.first_s + 60.0 * asked.train
        hosts = [CallHost(recording, count_from, asked.memory_mb, make_holding)]
    if asked.train >= minutes > 0:
        raise InvalidInput(f"--train {asked.train} leaves nothing to count of {minutes} minutes")
    exact = isinstance(recording, ByMinutes)
    trace |= {
        "schema": "calls per minute" if exact else "calls",
        "minutes": minutes,
        "invocations": calls,
        "hosts": len(hosts),
        "memory_mb": asked.memory_mb,
    }
    steps = len(tasks_of(hosts, asked.every))
    results = replay(
        hosts, asked.every, jobs=asked.jobs, told=lambda done: told(f"replayed {done} of {steps}")
    )
    return {result.name: result for result in results}, trace


def _document(
    asked: _Asked,
    results: Mapping[str, "Result"],
    skipped: Mapping[str, int],
    trace: Mapping[str, Any],
) -> dict[str, Any]:
    import msgspec

    points = []
    for name, (series, dial) in asked.curve.items():
        result = results[name]
        points.append(
            {
                "policy": series,
                "dial": dial,
                "cold_starts": result.cold_starts,
                "wasted_gb_minutes": result.wasted_gb_minutes,
                "q75": result.q75,
            }
        )
    return {
        "policies": [msgspec.to_builtins(results[name]) for name in asked.names],
        "curve": points,
        "skipped": dict(skipped),
        "trace": dict(trace),
    }


def _show(
    results: Sequence["Result"],
    skipped: Mapping[str, int],
    trace: Mapping[str, Any],
    dots: Sequence[Dot],
) -> None:
    table(_COLUMNS, [_row(result) for result in results])
    if dots:
        width = max(30, min(90, shutil.get_terminal_size((80, 24)).columns - 16))
        click.echo()
        for line in drawn(dots, width=width):
            click.echo(line)
    counted = trace["minutes"] - trace["train"]
    remark(
        f"{trace['functions']:,} functions, {trace['invocations']:,} calls, {trace['minutes']:,} minutes of which the last "
        f"{counted:,} count, {trace['hosts']:,} host{'s' * (trace['hosts'] != 1)}."
    )
    if trace["memory_mb"] and (over := [each for each in results if each.minutes_over_memory]):
        said = ", ".join(f"{each.name} in {each.minutes_over_memory:,}" for each in over)
        remark(f"Minutes in which a host held more than it has: {said}.")
    for reason, count in skipped.items():
        remark(f"Skipped: {count:,} {reason}.")


def _row(result: "Result") -> list[object]:
    return [
        result.name,
        result.cold_starts,
        f"{result.cold_percent:.4f}",
        round(result.wasted_gb_minutes),
        f"{result.q50:.1f}",
        f"{result.q75:.1f}",
        f"{result.added_latency_ms['total'] / 1000:.1f}",
        f"{result.peak_host_gb:.2f}",
        f"{result.seconds:.2f}",
    ]
