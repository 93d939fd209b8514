"""Versions never change, aliases move between them, and weights split calls as they say."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.control.owned import ACCOUNT, OTHER, arn, make_zip

from forerun.control.fleet.asks import ask_of
from forerun.control.registry import bounds_of, pick_version
from forerun.control.specs import Specs

CODE_1 = make_zip({"app.py": "one = 1"})
CODE_2 = make_zip({"app.py": "two = 2"})


async def two_versions(aws):
    await aws.create(Publish=True)
    await aws.update_function_code(FunctionName="fn", ZipFile=CODE_2, Publish=True)


async def test_a_version_keeps_what_it_was_published_with(aws):
    made = await aws.create(Description="first", Environment={"Variables": {"KEY": "1"}})
    one = await aws.publish_version(FunctionName="fn", Description="of its own")
    assert (one["Version"], one["FunctionArn"], one["Description"]) == (
        "1",
        arn("fn", "1"),
        "of its own",
    )
    await aws.update_function_code(FunctionName="fn", ZipFile=CODE_2)
    await aws.update_function_configuration(
        FunctionName="fn", Timeout=9, Environment={"Variables": {}}
    )
    shown = await aws.get_function_configuration(FunctionName="fn", Qualifier="1")
    assert (shown["CodeSha256"], shown["Timeout"]) == (made["CodeSha256"], 3)
    assert shown["Environment"]["Variables"] == {"KEY": "1"}
    assert shown["RevisionId"] == one["RevisionId"] != made["RevisionId"]
    listed = (await aws.list_versions_by_function(FunctionName="fn"))["Versions"]
    assert [v["FunctionArn"] for v in listed] == [arn("fn", "$LATEST"), arn("fn", "1")]


async def test_no_new_version_when_nothing_changed(aws):
    await aws.create(Description="same")
    for description in ({}, {"Description": "other"}):
        assert (await aws.publish_version(FunctionName="fn", **description))["Version"] == "1"
    package = make_zip()
    again = await aws.update_function_code(FunctionName="fn", ZipFile=package, Publish=True)
    assert again["Version"] == "1"
    await aws.update_function_configuration(FunctionName="fn", Description="changed")
    assert (await aws.publish_version(FunctionName="fn"))["Version"] == "2"
    assert (await aws.publish_version(FunctionName="fn"))["Version"] == "2"


@pytest.mark.databases
async def test_numbers_are_never_used_again(aws, refused):
    await two_versions(aws)
    await aws.delete_function(FunctionName="fn", Qualifier="2")
    await aws.update_function_code(FunctionName="fn", ZipFile=CODE_1)
    assert (await aws.publish_version(FunctionName="fn"))["Version"] == "3"
    await refused(aws.get_function(FunctionName="fn", Qualifier="2"), "ResourceNotFoundException")


async def test_publishing_at_the_same_time_gives_one_version(aws):
    await aws.create()
    made = await asyncio.gather(*(aws.publish_version(FunctionName="fn") for _ in range(5)))
    assert {version["Version"] for version in made} == {"1"}


async def test_the_code_hash_guards_publishing(aws, refused):
    made = await aws.create()
    await refused(
        aws.publish_version(FunctionName="fn", CodeSha256="other"),
        "InvalidParameterValueException",
        "CodeSHA256 (other)",
    )
    await aws.publish_version(FunctionName="fn", CodeSha256=made["CodeSha256"])


async def test_versions_that_cannot_be_deleted(aws, refused):
    await two_versions(aws)
    await aws.create_alias(
        FunctionName="fn",
        Name="live",
        FunctionVersion="1",
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.1}},
    )
    for version in "12":
        await refused(
            aws.delete_function(FunctionName="fn", Qualifier=version), "ResourceConflictException"
        )
    await refused(
        aws.delete_function(FunctionName="fn", Qualifier="$LATEST"),
        "InvalidParameterValueException",
        "$LATEST",
    )
    await refused(
        aws.delete_function(FunctionName="fn", Qualifier="live"), "InvalidParameterValueException"
    )
    await aws.delete_alias(FunctionName="fn", Name="live")
    await aws.delete_function(FunctionName="fn", Qualifier="1")


async def test_versions_page(aws):
    await aws.create()
    for timeout in range(10, 15):
        await aws.update_function_configuration(FunctionName="fn", Timeout=timeout)
        await aws.publish_version(FunctionName="fn")
    paginator = aws.boto.get_paginator("list_versions_by_function")

    def pages():
        return [
            [version["Version"] for version in page["Versions"]]
            for page in paginator.paginate(FunctionName="fn", PaginationConfig={"PageSize": 4})
        ]

    assert await asyncio.to_thread(pages) == [["$LATEST", "1", "2", "3"], ["4", "5"]]


async def test_an_alias_is_shown_moved_and_deleted(aws, refused):
    await two_versions(aws)
    made = await aws.create_alias(FunctionName="fn", Name="live", FunctionVersion="1")
    assert made["AliasArn"] == arn("fn", "live")
    assert "RoutingConfig" not in made
    moved = await aws.update_alias(
        FunctionName="fn",
        Name="live",
        Description="canary",
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.25}},
        RevisionId=made["RevisionId"],
    )
    assert moved["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.25}}
    assert (moved["FunctionVersion"], moved["Description"]) == ("1", "canary")
    await refused(
        aws.update_alias(FunctionName="fn", Name="live", RevisionId=made["RevisionId"]),
        "PreconditionFailedException",
    )
    cleared = await aws.update_alias(
        FunctionName="fn",
        Name="live",
        FunctionVersion="2",
        RoutingConfig={"AdditionalVersionWeights": {}},
    )
    assert "RoutingConfig" not in cleared
    shown = await aws.get_alias(FunctionName="fn", Name="live")
    assert (shown["FunctionVersion"], shown["RevisionId"]) == ("2", cleared["RevisionId"])
    await aws.delete_alias(FunctionName="fn", Name="live")
    await aws.delete_alias(FunctionName="fn", Name="live")
    await refused(
        aws.get_alias(FunctionName="fn", Name="live"),
        "ResourceNotFoundException",
        "Cannot find alias",
    )


@pytest.mark.parametrize(
    ("version", "weights", "code", "words"),
    [
        ("9", {}, "ResourceNotFoundException", "fn:9"),
        ("1", {"9": 0.5}, "ResourceNotFoundException", "fn:9"),
        ("1", {"1": 0.5}, "InvalidParameterValueException", "already included"),
        ("1", {"2": 1.01}, "", "weight"),
        ("1", {"2": -0.1}, "", "weight"),
        ("$LATEST", {"1": 0.5}, "InvalidParameterValueException", "$LATEST"),
        ("1", {"2": 0.1, "3": 0.1}, "InvalidParameterValueException", "greater than 1"),
    ],
)
async def test_aliases_that_are_refused(aws, version, weights, code, words):
    await two_versions(aws)
    with pytest.raises(aws.boto.exceptions.ClientError) as caught:
        await aws.create_alias(
            FunctionName="fn",
            Name="live",
            FunctionVersion=version,
            RoutingConfig={"AdditionalVersionWeights": weights},
        )
    error = caught.value.response["Error"]
    assert code in error["Code"]
    assert words.lower() in error["Message"].lower()


@pytest.mark.databases
async def test_alias_names(aws, refused):
    await two_versions(aws)
    await aws.create_alias(FunctionName="fn", Name="x" * 128, FunctionVersion="1")
    for name in ("123", "x" * 129, "a b"):
        with pytest.raises(aws.boto.exceptions.ClientError):
            await aws.create_alias(FunctionName="fn", Name=name, FunctionVersion="1")
    await refused(
        aws.create_alias(FunctionName="fn", Name="x" * 128, FunctionVersion="1"),
        "ResourceConflictException",
        "Alias already exists",
    )
    await refused(aws.list_aliases(FunctionName="none"), "ResourceNotFoundException")


@pytest.mark.databases
async def test_aliases_are_listed_by_name_and_by_version(aws):
    await two_versions(aws)
    for name, version in (("b", "1"), ("a", "2"), ("c", "1")):
        await aws.create_alias(FunctionName="fn", Name=name, FunctionVersion=version)
    await aws.update_alias(
        FunctionName="fn", Name="a", RoutingConfig={"AdditionalVersionWeights": {"1": 0.5}}
    )
    await aws.update_alias(FunctionName="fn", Name="c", FunctionVersion="2")

    async def names(**values):
        page = await aws.list_aliases(FunctionName="fn", **values)
        return [alias["Name"] for alias in page["Aliases"]]

    assert await names() == ["a", "b", "c"]
    assert await names(FunctionVersion="1") == ["a", "b"]
    page = await aws.list_aliases(FunctionName="fn", MaxItems=2)
    assert await names(MaxItems=2, Marker=page["NextMarker"]) == ["c"]


@given(
    weight=st.floats(0, 1),
    pick=st.floats(0, 1, exclude_max=True),
)
def test_weights_split_the_unit_interval(weight, pick):
    split = [(bound, version) for bound, version in bounds_of("1", {"2": weight})]
    assert pick_version(split, pick) == ("2" if pick < weight else "1")


@pytest.mark.databases
async def test_the_registry_follows_every_change(aws, estate):
    registry = estate.registry

    async def resolved(qualifier=None, pick=0.0):
        assert registry.peek(ACCOUNT, "fn", qualifier, pick) is None
        first = await registry.resolve(ACCOUNT, "fn", qualifier, pick)
        assert registry.peek(ACCOUNT, "fn", qualifier, pick) is first
        return first

    await two_versions(aws)
    await aws.create_alias(FunctionName="fn", Name="live", FunctionVersion="1")
    first = await resolved()
    assert (first.function.version, first.invoked_arn, first.qualifier) == (
        "$LATEST",
        arn("fn"),
        None,
    )
    assert (first.reserved, first.policy, first.event_config) == (None, None, None)
    live = await resolved("live")
    assert (live.function.version, live.invoked_arn) == ("1", arn("fn", "live"))
    await aws.update_alias(
        FunctionName="fn", Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": 0.3}}
    )
    assert (await resolved("live", 0.29)).function.version == "2"
    assert registry.peek(ACCOUNT, "fn", "live", 0.3).function.version == "1"
    await aws.put_function_concurrency(FunctionName="fn", ReservedConcurrentExecutions=7)
    assert (await resolved()).reserved == 7
    await aws.delete_function_concurrency(FunctionName="fn")
    assert (await resolved()).reserved is None
    await aws.add_permission(
        FunctionName="fn",
        Qualifier="live",
        StatementId="s",
        Action="lambda:InvokeFunction",
        Principal=OTHER,
    )
    assert (await resolved("live", 0.9)).policy is not None
    assert (await resolved()).policy is None
    await aws.put_function_event_invoke_config(
        FunctionName="fn", Qualifier="live", MaximumRetryAttempts=1
    )
    assert (await resolved("live")).event_config.max_retries == 1
    before = await resolved()
    await aws.tag_resource(Resource=arn("fn"), Tags={"forerun:egress": "open"})
    after = await resolved()
    assert (before.function.egress, after.function.egress) == ("platform", "open")
    assert before.function.sandbox_key != after.function.sandbox_key
    await aws.update_function_configuration(FunctionName="fn", Timeout=8)
    assert (await resolved()).function.timeout_s == 8
    await aws.delete_function(FunctionName="fn")
    with pytest.raises(Exception, match="Function not found: " + arn("fn", "live")):
        await registry.resolve(ACCOUNT, "fn", "live", 0.0)


class Trees:
    """Implements ``specs.Trees``."""

    def path(self, digest):
        return f"/trees/{digest}"


async def test_tags_say_where_alone_it_may_run(aws, estate):
    await aws.create()
    specs = Specs(Trees())

    async def made():
        return specs.of((await estate.registry.resolve(ACCOUNT, "fn", None, 0.0)).function)

    anywhere = await made()
    assert (anywhere.zone, anywhere.isolation) == ("", "")
    tags = {"forerun:zone": "eu-west.1", "forerun:isolation": "jail"}
    await aws.tag_resource(Resource=arn("fn"), Tags=tags)
    kept = await made()
    assert (kept.zone, kept.isolation) == ("eu-west.1", "jail")
    assert (ask_of(kept).zone, ask_of(kept).isolation) == ("eu-west.1", "jail")
    await aws.tag_resource(Resource=arn("fn"), Tags={"forerun:zone": "b"})
    moved = await made()
    await aws.untag_resource(Resource=arn("fn"), TagKeys=["forerun:isolation"])
    unjailed = await made()
    assert len({anywhere.key, kept.key, moved.key, unjailed.key}) == 4
    await aws.untag_resource(Resource=arn("fn"), TagKeys=["forerun:zone"])
    assert (await made()).key == anywhere.key


async def test_a_change_while_resolving_is_not_missed(aws, estate):
    await aws.create()
    registry = estate.registry
    slow = asyncio.Event()
    find = registry._policies.find

    async def waiting(*key):
        found = await find(*key)
        await slow.wait()
        return found

    registry._policies.find = waiting
    calls = [asyncio.ensure_future(registry.resolve(ACCOUNT, "fn", None, 0.0)) for _ in range(3)]
    while not registry._loading:
        await asyncio.sleep(0)
    calls[0].cancel()
    registry.forget(ACCOUNT, "fn")
    slow.set()
    await asyncio.gather(*calls, return_exceptions=True)
    assert [call.cancelled() for call in calls] == [True, False, False]
    assert calls[1].result().function.name == "fn"
    registry.forget(ACCOUNT, "fn")
    loading = asyncio.ensure_future(registry.resolve(ACCOUNT, "fn", None, 0.0))
    slow.clear()
    while not registry._loading:
        await asyncio.sleep(0)
    registry.forget(ACCOUNT, "fn")
    slow.set()
    await loading
    assert registry.peek(ACCOUNT, "fn", None, 0.0) is None


async def test_the_registry_is_bounded(aws, estate):
    for index in range(3):
        await aws.create(f"fn-{index}")
    estate.registry._most = 2
    for index in range(3):
        await estate.registry.resolve(ACCOUNT, f"fn-{index}", None, 0.0)
    assert [
        estate.registry.peek(ACCOUNT, f"fn-{index}", None, 0.0) is not None for index in range(3)
    ] == [False, True, True]
