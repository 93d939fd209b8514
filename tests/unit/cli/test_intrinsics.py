import pytest

from forerun.cli.deploying.intrinsics import Made, Scope, references
from forerun.cli.failures import Failure

SCOPE = Scope(
    parameters={"Stage": "prod", "AWS::Region": "us-home-1", "Names": ["a", "b"]},
    mappings={"Sizes": {"prod": {"memory": 512}}},
    conditions={
        "Prod": {"Fn::Equals": [{"Ref": "Stage"}, "prod"]},
        "Never": {"Fn::Not": [{"Condition": "Prod"}]},
    },
    made={"Table": Made("table-1", {"Arn": "arn:table", "Nested.Value": 3})},
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Ref": "Stage"}, "prod"),
        ({"Ref": "Table"}, "table-1"),
        ({"Fn::GetAtt": ["Table", "Arn"]}, "arn:table"),
        ({"Fn::GetAtt": "Table.Nested.Value"}, 3),
        (
            {"Fn::Sub": "${Stage}-${Table.Arn}-${AWS::Region}-${!Kept}"},
            "prod-arn:table-us-home-1-${Kept}",
        ),
        ({"Fn::Sub": ["${X}/${Stage}", {"X": {"Ref": "Table"}}]}, "table-1/prod"),
        ({"Fn::Join": [":", ["a", {"Ref": "Stage"}]]}, "a:prod"),
        ({"Fn::Join": ["", {"Ref": "Names"}]}, "ab"),
        ({"Fn::Select": ["1", {"Fn::Split": [",", "x,y"]}]}, "y"),
        ({"Fn::FindInMap": ["Sizes", {"Ref": "Stage"}, "memory"]}, 512),
        ({"Fn::If": ["Prod", 1, 2]}, 1),
        ({"Fn::If": ["Never", 1, 2]}, 2),
        ({"a": {"Fn::If": ["Never", 1, {"Ref": "AWS::NoValue"}]}, "b": 2}, {"b": 2}),
        ([1, {"Ref": "AWS::NoValue"}], [1]),
        (
            {
                "Fn::And": [
                    {"Condition": "Prod"},
                    {"Fn::Or": [{"Condition": "Never"}, {"Condition": "Prod"}]},
                ]
            },
            True,
        ),
        ({"Condition": {"StringEquals": {"a": "b"}}}, {"Condition": {"StringEquals": {"a": "b"}}}),
    ],
)
def test_resolves(value, expected):
    assert SCOPE.resolve(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        {"Ref": "Absent"},
        {"Fn::GetAtt": ["Table", "Absent"]},
        {"Fn::Cidr": ["10.0.0.0/8", 1, 2]},
        {"Fn::Join": ["only"]},
        {"Fn::Select": [9, ["a"]]},
        {"Fn::FindInMap": ["Sizes", "dev", "memory"]},
        {"Fn::If": ["Absent", 1, 2]},
        {"Fn::Sub": "${Absent}"},
        {"Fn::Sub": 3},
    ],
)
def test_names_what_it_cannot_resolve(value):
    with pytest.raises(Failure):
        SCOPE.resolve(value)


def test_references_are_found_wherever_they_stand():
    value = {
        "a": [{"Ref": "One"}, {"Ref": "AWS::Region"}],
        "b": {"Fn::Sub": ["${Two.Arn} ${own} ${!Not}", {"own": {"Fn::GetAtt": "Three.Arn"}}]},
        "c": {"Fn::If": ["Prod", {"Fn::Join": ["", [{"Ref": "Four"}]]}, 1]},
    }
    assert set(references(value)) == {"One", "Two", "Three", "Four"}
