"""Bad requests get AWS's code and sentence; odd ones that AWS takes are taken."""

import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.api.aws_shapes import scope_header

from forerun.api.protocol import (
    ApiError,
    HttpRequest,
    Models,
    Parser,
    Route,
    Router,
    Serializer,
    error_reply,
)
from forerun.api.protocol.patterns import to_python

models = Models()
router = Router(models, ("lambda", "sts", "iam", "logs", "sqs", "s3", "dynamodb"))
parser = Parser()
serializer = Serializer()
GOOD = {
    "FunctionName": "f",
    "Role": "arn:aws:iam::123456789012:role/r",
    "Code": {"ZipFile": "UEs="},
}


def parse(method, uri, body=b"", *, scope="lambda", headers=()):
    path, _, query = uri.partition("?")
    request = HttpRequest(
        method, path.encode(), query.encode(), [scope_header(scope), *headers], body
    )
    return parser.parse(router.route(request), request)


def create(**changes):
    return parse("POST", "/2015-03-31/functions", json.dumps({**GOOD, **changes}).encode())


def refusal(call, *arguments, **keywords):
    with pytest.raises(ApiError) as caught:
        call(*arguments, **keywords)
    return caught.value


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"Timeout": 99999},
            "Value '99999' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 5400",
        ),
        (
            {"Timeout": 0},
            "Value '0' at 'timeout' failed to satisfy constraint: Member must have value greater than or equal to 1",
        ),
        (
            {"Role": None},
            "Value null at 'role' failed to satisfy constraint: Member must not be null",
        ),
        (
            {"Code": None},
            "Value null at 'code' failed to satisfy constraint: Member must not be null",
        ),
        (
            {"Role": "r"},
            "Value 'r' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:",
        ),
        (
            {"Description": "x" * 257},
            "at 'description' failed to satisfy constraint: Member must have length less than or equal to 256",
        ),
        (
            {"PackageType": "Tar"},
            "Value 'Tar' at 'packageType' failed to satisfy constraint: Member must satisfy enum value set: [Zip, Image]",
        ),
        ({"EphemeralStorage": {"Size": 1}}, "Value '1' at 'ephemeralStorage.size' failed"),
        ({"EphemeralStorage": {}}, "Value null at 'ephemeralStorage.size' failed"),
        (
            {"Architectures": ["vax"]},
            "Value '[vax]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64]]",
        ),
        (
            {"Environment": {"Variables": {"1": "x"}}},
            "Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: [",
        ),
        (
            {"FileSystemConfigs": [{"Arn": "x", "LocalMountPath": "/mnt/a"}]},
            "at 'fileSystemConfigs.1.member.arn' failed",
        ),
    ],
)
def test_violations_name_the_field_and_the_limit(changes, sentence):
    error = refusal(create, **changes)
    assert (error.code, error.status) == ("ValidationException", 400)
    assert error.message.startswith("1 validation error detected: Value")
    assert sentence in error.message


def test_all_violations_are_told_at_once():
    message = refusal(create, Timeout=0, MemorySize=1).message
    assert message.startswith("2 validation errors detected: ")
    assert message.count("failed to satisfy constraint") == 2


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "Could not parse request body into json"),
        (b"\xff{}", "Could not parse request body into json"),
        (b"[" * 100_000, "Could not parse request body into json"),
        (b"[]", "Start of list found where not expected"),
        (b'"text"', "where a structure"),
        (b'{"Timeout": "abc"}', "STRING_VALUE can not be converted to an Integer"),
        (b'{"Timeout": true}', "TRUE_VALUE can not be converted to an Integer"),
        (b'{"Timeout": 1.5}', "NUMBER_VALUE can not be converted to an Integer"),
        (b'{"FunctionName": 5}', "NUMBER_VALUE can not be converted to a String"),
        (b'{"Code": {"ZipFile": "*"}}', "base64"),
        (b'{"Layers": {}}', "Start of structure or map found where not expected."),
    ],
)
def test_values_of_the_wrong_kind_cannot_be_serialised(body, sentence):
    error = refusal(parse, "POST", "/2015-03-31/functions", body)
    assert (error.code, error.status) == ("SerializationException", 400)
    assert sentence in error.message


def test_a_runtime_nobody_knows_is_told_as_lambda_tells_it():
    error = refusal(create, Runtime="python2.1")
    assert error.code == "InvalidParameterValueException"
    assert re.match(
        r"Value python2\.1 at 'runtime' failed .* \[nodejs, .*\] or be a valid ARN\Z", error.message
    )


def test_path_query_and_headers_are_checked_too():
    assert "at 'maxItems'" in refusal(parse, "GET", "/2015-03-31/functions?MaxItems=0").message
    assert "at 'functionName'" in refusal(parse, "GET", "/2015-03-31/functions/a%20b").message
    assert (
        "at 'qualifier'"
        in refusal(parse, "GET", "/2019-09-30/functions/f/provisioned-concurrency").message
    )
    bad = refusal(parse, "GET", "/2015-03-31/functions?MaxItems=many")
    assert bad.code == "SerializationException"
    both = refusal(
        parse,
        "POST",
        "/2015-03-31/functions/a%20b/aliases",
        b'{"Name": "x", "FunctionVersion": "?"}',
    )
    assert both.message.startswith("2 validation errors")
    kind = refusal(
        parse,
        "POST",
        "/2015-03-31/functions/f/invocations",
        headers=[(b"X-Amz-Invocation-Type", b"Never")],
    )
    assert "at 'invocationType'" in kind.message


def test_the_body_cannot_set_what_belongs_to_the_path():
    body = b'{"FunctionName": "evil", "not in the body: FunctionName": "evil", "Name": "a", "FunctionVersion": "1", "More": 1}'
    assert parse("POST", "/2015-03-31/functions/good/aliases", body).FunctionName == "good"
    assert parse("GET", "/2015-03-31/functions?Marker=m&MaxItems=5&Unknown=1").MaxItems == 5


def test_absent_and_null_are_none_and_unknown_members_are_passed_over():
    request = create(Timeout=None, Unheard={"of": 1}, Publish=False)
    assert (request.Timeout, request.Handler, request.Publish) == (None, None, False)
    assert request.Code.ZipFile == b"PK"
    assert parse("POST", "/2015-03-31/functions/f/versions").Description is None


def test_full_names_of_functions_are_names():
    name = "arn:aws:lambda:us-home-1:123456789012:function:" + "f" * 64
    path = "/2015-03-31/functions/" + name.replace(":", "%3A")
    assert parse("GET", path).FunctionName == name
    assert parse("GET", path + "%3A$LATEST/configuration").FunctionName == name + ":$LATEST"


@pytest.mark.parametrize(
    ("given", "meant"),
    [("1700000000", 1.7e9), ('"2023-11-14T22:13:20Z"', 1.7e9), ("1700000000.25", 1700000000.25)],
)
def test_times_are_epoch_seconds(given, meant):
    body = f'{{"FunctionName": "f", "StartingPositionTimestamp": {given}}}'.encode()
    found = parse("POST", "/2015-03-31/event-source-mappings", body).StartingPositionTimestamp
    assert found == meant
    assert type(found) is float


def test_other_services_have_their_own_codes():
    short = b"Action=AssumeRole&RoleArn=x&RoleSessionName=s!"
    assert refusal(parse, "POST", "/", short, scope="sts").code == "ValidationError"
    target = [(b"X-Amz-Target", b"Logs_20140328.GetLogEvents")]
    assert (
        refusal(parse, "POST", "/", b"{}", scope="logs", headers=target).code
        == "InvalidParameterException"
    )


def test_a_shape_may_hold_itself():
    target = [(b"X-Amz-Target", b"DynamoDB_20120810.PutItem")]
    body = b'{"TableName": "table", "Item": {"a": {"M": {"b": {"L": [{"S": "deep"}, {"B": "UEs="}]}}}}}'
    item = parse("POST", "/", body, scope="dynamodb", headers=target).Item
    assert item["a"].M["b"].L[0].S == "deep"
    assert item["a"].M["b"].L[1].B == b"PK"


@pytest.mark.parametrize(
    "body",
    [
        b"<Delete>",
        b"not xml",
        b'<?xml version="1.0" encoding="no-such-encoding"?><Delete></Delete>',
        b'<?xml version="1.0" encoding="utf-7"?><Delete></Delete>',
        b'<!DOCTYPE d [<!ENTITY a "x">]><Delete>&a;</Delete>',
        b"<a>" * 200 + b"</a>" * 200,
    ],
)
def test_bad_xml_is_refused(body):
    assert refusal(parse, "POST", "/bucket?delete", body, scope="s3").code == "MalformedXML"


def test_bad_forms_are_refused():
    deep = b"Action=CreateRole&" + b".".join([b"a"] * 100) + b"=1"
    assert refusal(parse, "POST", "/", deep, scope="iam").code == "MalformedInput"
    wide = b"Action=CreateRole&" + b"&".join(b"Tags.member.%d.Key=a" % n for n in range(20_001))
    assert refusal(parse, "POST", "/", wide, scope="iam").code == "MalformedInput"


def test_a_number_of_a_list_has_no_thousand_digits():
    body = b"Action=CreateRole&RoleName=a&AssumeRolePolicyDocument=b&Tags.member.%s.Key=a" % (
        b"9" * 5000
    )
    assert not parse("POST", "/", body, scope="iam").Tags


def test_patterns_mean_what_they_mean_to_aws():
    assert re.search(to_python("[a-z]+"), "ab")
    assert not re.search(to_python("[a-z]+"), "ab\n")
    assert not re.search(to_python(r"\d+"), "٣")
    assert re.search(to_python(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"), "Größe 1 @x")
    assert not re.search(to_python(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"), "a;b")
    assert to_python(r"[^\p{C}]*") is None
    assert to_python("(") is None


def test_no_pattern_of_lambda_can_be_made_to_hang():
    shapes = models.load("lambda").document["shapes"].values()
    for shape in shapes:
        pattern = to_python(shape["pattern"]) if "pattern" in shape else None
        longest = min(shape.get("max", 2000), 2000)
        for bait in ("a", "a.", "0", "-", "arn:aws:lambda:", "a-") if pattern else ():
            started = time.perf_counter()
            re.search(pattern, (bait * longest)[:longest] + "\n")
            assert time.perf_counter() - started < 0.5, (pattern, bait)


def test_operations_without_input_parse():
    operation = models.load("iam").operations["GetAccountSummary"]
    request = HttpRequest("POST", b"/", b"", [], b"Action=GetAccountSummary")
    assert parser.parse(Route(operation, {}), request) is not None


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=5) | st.sampled_from(["Size", "Arn", "Variables"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
NAMES = sorted(models.load("lambda").operations["CreateFunction"].input.members)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), ANY, max_size=4))
def test_whatever_the_body_holds_it_is_read_or_refused_in_aws_words(changes):
    refused = None
    try:
        create(**changes)
    except ApiError as error:
        refused = error
    codes = ("ValidationException", "SerializationException", "InvalidParameterValueException")
    assert refused is None or (refused.status == 400 and refused.code in codes)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["GET", "PUT", "POST", "DELETE"]),
    st.sampled_from(
        [
            b"",
            b"/",
            b"/2015-03-31/functions/",
            b"/2018-10-31/layers/x/versions/",
            b"/bucket/",
            b"/bucket?delete",
        ]
    ),
    st.binary(max_size=30),
    st.binary(max_size=30) | st.just(b"Action=CreateRole&Tags.member.x.Key=1&Tags=&Tags.member.1="),
    st.sampled_from(["lambda", "s3", "iam", "sqs", "logs", ""]),
)
def test_no_request_at_all_brings_it_down(method, start, rest, body, scope):
    path, _, query = (start + rest).partition(b"?")
    request = HttpRequest(
        method, path, query, [scope_header(scope)] if scope else [(b"X-Amz-Target", rest)], body
    )
    refused = None
    try:
        parser.parse(router.route(request), request)
    except ApiError as error:
        refused = error
    assert (
        refused is None or error_reply(getattr(refused, "model", None), refused, "r").status >= 400
    )
