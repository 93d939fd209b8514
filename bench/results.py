"""One measured number beside its target, and how a run is shown: a table for people, JSON for machines."""

import json
import math
from dataclasses import asdict, dataclass, field

from rich.console import Console
from rich.table import Table


@dataclass
class Line:
    """``value`` is the median of the quieter ``rounds``. ``target`` is a bound from above, or from below with ``at_least``.

    A line without target is told beside the others; one without value was not served, and ``note`` says why.
    """

    case: str
    what: str
    value: float | None
    unit: str
    target: float | None = None
    at_least: bool = False
    rounds: list[float] = field(default_factory=list)
    others_cpu: float = 0.0
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; ``None`` where there is none."""
        if self.target is None:
            return None
        if self.value is None or math.isnan(self.value):
            return False
        return self.value >= self.target if self.at_least else self.value <= self.target

    @property
    def best(self) -> float | None:
        """The best round: nearer to what a quiet machine gives than the median on a busy one."""
        if not self.rounds:
            return self.value
        return max(self.rounds) if self.at_least else min(self.rounds)


def number(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def target_of(line: Line) -> str:
    """The bound as text."""
    if line.target is None:
        return ""
    return f"{'>=' if line.at_least else '<='} {number(line.target)}"


def show(lines: list[Line], title: str) -> None:
    """Print the table; ``others`` is the share of the CPU that others used meanwhile."""
    table = Table(title=title, title_justify="left")
    for column in ("case", "what", "median", "best", "unit", "target", "met", "others", "note"):
        table.add_column(
            column, justify="right" if column in ("median", "best", "others") else "left"
        )
    verdicts = {True: "[green]yes", False: "[red]NO", None: ""}
    for line in lines:
        table.add_row(
            line.case,
            line.what,
            number(line.value),
            number(line.best),
            line.unit,
            target_of(line),
            verdicts[line.met],
            f"{line.others_cpu:.0f} %",
            line.note,
        )
    Console(width=None if Console().is_terminal else 190).print(table)


def as_json(lines: list[Line], **about) -> str:
    """The run as JSON: ``about`` and the lines with their verdicts."""
    shown = [asdict(line) | {"met": line.met, "best": line.best} for line in lines]
    return json.dumps({**about, "lines": shown}, indent=1)
