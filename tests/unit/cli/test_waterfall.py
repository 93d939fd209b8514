"""A trace as lines for a terminal: guides, names, durations and bars that stand where they belong."""

import re

import msgspec
import pytest
from click.testing import CliRunner

from forerun.cli import main
from forerun.cli.waterfall import headline, rows
from forerun.model import Span, SpanStatus
from forerun.traces import tree_of

A = "a" * 32
T0 = 1_700_000_000.0


def span(span_id: str, parent_id: str = "", at: float = 0.0, for_s: float = 1.0, **more) -> Span:
    values = {"name": span_id, "kind": "server", "service": span_id, "started": T0 + at}
    values["ended"] = T0 + at + for_s if for_s else 0.0
    return Span(trace_id=A, span_id=span_id, parent_id=parent_id, **(values | more))


def call(span_id: str, parent_id: str, said=None, **more) -> Span:
    return span(span_id, parent_id, kind="client", attributes=said or {}, **more)


def shown(*spans: Span, width: int = 100, lines=None) -> list[str]:
    tree = msgspec.to_builtins(tree_of(A, spans))
    return [
        re.sub(" +", " ", f"{row.guides}{row.text} | {row.detail} | {row.duration} | {row.status}")
        for row in rows(tree, width, lines)
    ]


def bars(*spans: Span, width: int = 100) -> list[str]:
    return [row.bar for row in rows(msgspec.to_builtins(tree_of(A, spans)), width)]


def test_who_called_whom():
    said = {"faas.invoked_name": "stock", "aws.service": "lambda"}
    assert shown(
        span("orders", attributes={"forerun.start_type": "pool"}, for_s=0.5),
        call("lambda.Invoke", "orders", said, at=0.1, for_s=0.3),
        span("stock", "lambda.Invoke", at=0.15, for_s=0.2, status=SpanStatus.FAULT,
             attributes={"error.type": "KeyError", "forerun.attempt": 2}),
        call("GET /x", "orders", {"server.address": "h", "server.port": 80, "http.response.status_code": 404},
             at=0.45, for_s=0.0, status=SpanStatus.ERROR),
    ) == [
        "orders | pool | 500.0 ms | ok",
        "├ lambda.Invoke | stock | 300.0 ms | ok",
        "│ └ stock | attempt 2, KeyError | 200.0 ms | fault",
        "└ GET /x | h:80, 404 | not ended | error",
    ]  # fmt: skip


def test_bars_stand_where_they_belong():
    whole, first, last, point = bars(
        span("a"),
        call("b", "a", at=0.0, for_s=0.5),
        call("c", "a", at=0.5, for_s=0.5),
        call("d", "a", at=0.999, for_s=0.0001),
    )
    assert set(whole) == {"█"}
    assert len(first) == pytest.approx(len(whole) / 2, abs=1)
    assert last.startswith(" " * (len(whole) // 2 - 1))
    assert len(last) == len(whole)
    assert point.strip() == "▏"
    assert len(point) == len(whole)


@pytest.mark.parametrize("width", [1, 20, 80, 500])
def test_any_width_will_do(width):
    spans = [span("a"), call("b", "a", at=0.9, for_s=0.0)]
    for bar in bars(*spans, width=width):
        assert 0 < len(bar) <= max(10, width)


def test_odd_traces_say_so():
    circle = [span("x", "y"), span("y", "x", at=0.1)]
    lost = [span("p", "gone", at=1), span("q", "lost", at=2)]
    skewed = [span("r", at=5), call("s", "r", at=5), span("t", "s", at=3)]
    caused = span("u", "foreign", at=6, attributes={"forerun.caused_by": "r"})
    said = "\n".join(shown(*circle, *lost, *skewed, caused))
    assert "somebody else | whose spans were not received" in said
    assert "t | clock off by 2000 ms" in said
    assert "u | through somebody else" in said
    tree = msgspec.to_builtins(tree_of(A, [*circle, *(span(f"{n:05}", "x") for n in range(6_000))]))
    assert "1 circle of parents opened" in headline(tree)
    assert "1002 of them not shown" in headline(tree)
    assert "… 1002 spans more are left out here" in [row.detail for row in rows(tree, 100)]


def test_log_lines_stand_below_their_execution():
    lines = shown(
        span("a"), call("b", "a"), lines=lambda node: ["one", "two"] if node["name"] == "a" else []
    )
    assert lines == [
        "a | | 1000 ms | ok",
        "│ | one | | log",
        "│ | two | | log",
        "└ b | | 1000 ms | ok",
    ]


@pytest.mark.parametrize(
    "arguments", [["traces", "--since", "soon"], ["traces", "--limit", "0"], ["trace"]]
)
def test_wrong_usage_is_told_from_failure(arguments):
    assert CliRunner().invoke(main, arguments).exit_code == 2
