"""What targets are given of an event."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forerun.errors import InvalidInput
from forerun.patterns import (
    About,
    Part,
    UnknownVariable,
    Whole,
    parse_constant,
    parse_path,
    parse_template,
)
from forerun.patterns.transforming import MAX_MADE_CHARS

EVENT: dict[str, Any] = {
    "version": "0",
    "id": "7bf73129-1428-4cd3-a780-95db273d1602",
    "detail-type": "EC2 Instance State-change Notification",
    "source": "aws.ec2",
    "account": "123456789012",
    "time": "2015-11-11T21:29:54Z",
    "region": "us-east-1",
    "resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-abcd1111"],
    "detail": {
        "instance-id": "i-0123456789",
        "state": "RUNNING",
        "count": 3,
        "ready": False,
        "none": None,
        "tags": [{"k": "a"}, {"k": "b"}],
        "text": 'say "hi"\n',
        "a name": {"x.y": 1},
    },
}
ENCODED = msgspec.json.encode(EVENT)
ABOUT = About("arn:aws:events:us-east-1:123456789012:rule/shop/r", "r", "2024-06-11T08:33:10Z")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("$", EVENT, id="all"),
        pytest.param("$.detail.state", "RUNNING", id="dots"),
        pytest.param("$.detail-type", EVENT["detail-type"], id="dash"),
        pytest.param("$['detail']['a name'][\"x.y\"]", 1, id="quoted"),
        pytest.param("$.detail.tags[1].k", "b", id="index"),
        pytest.param("$.detail.tags[*].k", ["a", "b"], id="each"),
        pytest.param("$.detail.tags.*.k", ["a", "b"], id="any"),
        pytest.param("$.detail.tags[2]", None, id="past the end"),
        pytest.param("$.detail.nothing.more", None, id="missing"),
        pytest.param("$.detail.state[0]", None, id="index of a text"),
        pytest.param("$.detail.none", None, id="null"),
        pytest.param("$.nothing[*]", [], id="each of nothing"),
    ],
)
def test_a_path_leads_somewhere_or_nowhere(path: str, expected: Any) -> None:
    assert parse_path(path).find(EVENT) == expected


@pytest.mark.parametrize(
    "path",
    [
        "",
        "detail",
        "$detail",
        "$.",
        "$..a",
        "$.a[",
        "$.a[-1]",
        "$.a[?(@.b)]",
        "$.a b",
        "$." + "a" * 256,
    ],
)
def test_a_path_that_is_not_understood_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput, match="path"):
        parse_path(path)


def made(template: str, **paths: str) -> str:
    named = {name.replace("_", "-"): path for name, path in paths.items()}
    return parse_template(named, template).make(EVENT, ENCODED, ABOUT).decode()


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param('"<instance> is in state <status>"', '"i-0123456789 is in state RUNNING"', id="text"),
        pytest.param('"<instance> is in state \\"<status>\\""', '"i-0123456789 is in state \\"RUNNING\\""', id="quotes inside"),
        pytest.param('{"instance": <instance>, "status": <status>}', '{"instance": "i-0123456789", "status": "RUNNING"}', id="object"),
        pytest.param('{"instance": "<instance>", "s": "is <status>"}', '{"instance": "i-0123456789", "s": "is RUNNING"}', id="object of texts"),
        pytest.param('{"n": <count>, "m": "<count>"}', '{"n": 3, "m": "3"}', id="number"),
        pytest.param('{"n": <ready>, "m": "<ready>"}', '{"n": false, "m": "false"}', id="false"),
        pytest.param('{"n": <none>, "m": "<none>"}', '{"n": "", "m": ""}', id="null"),
        pytest.param('{"n": <gone>, "m": "-<gone>-"}', '{"n": "", "m": "--"}', id="missing"),
        pytest.param('{"n": <tags>}', '{"n": [{"k":"a"},{"k":"b"}]}', id="array"),
        pytest.param('{"n": "<tags>"}', '{"n": "[{k:a},{k:b}]"}', id="array in a text"),
        pytest.param('{"<status>": 1}', '{"RUNNING": 1}', id="in a key"),
        pytest.param('{"n": <text>, "m": "<text>"}', '{"n": "say \\"hi\\"\\n", "m": "say \\"hi\\"\\n"}', id="escaped"),
        pytest.param("<detail>", json.dumps(EVENT["detail"], separators=(",", ":")), id="alone"),
        pytest.param('"<instance>"\n"<status>"', '"i-0123456789"\n"RUNNING"', id="lines"),
        pytest.param('{"a": "x < y > z"}', '{"a": "x < y > z"}', id="no variable"),
        pytest.param('"<aws.events.rule-arn> <aws.events.rule-name> <aws.events.event.ingestion-time>"', f'"{ABOUT.rule_arn} r 2024-06-11T08:33:10Z"', id="about the rule"),
        pytest.param('{"e": <aws.events.event.json>}', '{"e": ' + ENCODED.decode() + "}", id="the event as json"),
    ],
)  # fmt: skip
def test_a_template_is_filled_in(template: str, expected: str) -> None:
    assert (
        made(
            template,
            instance="$.detail.instance-id",
            status="$.detail.state",
            count="$.detail.count",
            ready="$.detail.ready",
            none="$.detail.none",
            gone="$.detail.gone",
            tags="$.detail.tags",
            text="$.detail.text",
            detail="$.detail",
        )
        == expected
    )


def test_a_template_that_names_a_large_part_again_and_again_is_cut_off() -> None:
    event = {"detail": {"text": "x" * 200_000}}
    form = parse_template({"t": "$.detail.text"}, '"' + "<t>" * 2000 + '"')
    made = form.make(event, json.dumps(event).encode(), ABOUT)
    assert MAX_MADE_CHARS < len(made) < 2 * MAX_MADE_CHARS


def test_the_event_without_its_detail_has_the_time_it_came() -> None:
    shown = json.loads(made('{"e": <aws.events.event>}'))["e"]
    assert shown == {
        "version": "0",
        "id": EVENT["id"],
        "detailType": EVENT["detail-type"],
        "source": "aws.ec2",
        "account": "123456789012",
        "time": "2024-06-11T08:33:10Z",
        "region": "us-east-1",
        "resources": EVENT["resources"],
    }


@pytest.mark.parametrize(
    ("paths", "template", "says"),
    [
        pytest.param({}, '"<x>"', "'x', which is not defined", id="unknown"),
        pytest.param({}, "hello", "neither JSON nor text", id="no quotes"),
        pytest.param({}, '{"a": }', "neither JSON nor text", id="no json"),
        pytest.param({"x": "$.a"}, '{"a": "<x>}', "neither JSON nor text", id="open quotes"),
        pytest.param({"x": "a"}, '"<x>"', "must begin with", id="path"),
        pytest.param({"aws.x": "$.a"}, '"<x>"', "name of a variable", id="reserved name"),
        pytest.param({}, "", "1 to 8192", id="empty"),
        pytest.param({}, '"' + "x" * 8192 + '"', "1 to 8192", id="long"),
        pytest.param({f"v{n}": "$.a" for n in range(101)}, '"x"', "at most 100", id="many"),
    ],
)
def test_a_bad_template_is_refused(paths: dict[str, str], template: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        parse_template(paths, template)


def test_the_name_of_an_unknown_variable_is_told() -> None:
    with pytest.raises(UnknownVariable) as caught:
        parse_template({}, '"<nobody>"')
    assert caught.value.name == "nobody"


VALUES = st.recursive(
    st.one_of(st.text(), st.integers(-5, 5), st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(VALUES)
@example(["\\"])
@example({'"': '\\"'})
def test_whatever_a_value_is_a_filled_template_stays_json(value: Any) -> None:
    event = {"detail": value}
    template = parse_template({"v": "$.detail"}, '{"a": <v>, "b": "it is <v>"}')
    made = json.loads(template.make(event, msgspec.json.encode(event), ABOUT))
    assert made["a"] == ("" if value is None else value)
    if isinstance(value, str):
        assert made["b"] == f"it is {value}"


def test_the_simple_forms() -> None:
    assert Whole().make(EVENT, ENCODED, ABOUT) == ENCODED
    assert Part(parse_path("$.detail.state")).make(EVENT, ENCODED, ABOUT) == b'"RUNNING"'
    assert Part(parse_path("$.nothing")).make(EVENT, ENCODED, ABOUT) == b"null"
    assert parse_constant('{"a": 1}').make(EVENT, ENCODED, ABOUT) == b'{"a": 1}'
    with pytest.raises(InvalidInput, match="not JSON"):
        parse_constant("{a: 1}")
