"""Layers: numbered for ever, merged in order, shared by permission."""

import json
import os

import pytest
from tests.unit.control.owned import ACCOUNT, OTHER, Owned, make_zip, open_estate

from forerun.settings import LimitSettings

LAYER = f"arn:aws:lambda:us-home-1:{ACCOUNT}:layer:deps"


async def publish(aws, name="deps", files=None, **values):
    return await aws.publish_layer_version(
        LayerName=name, Content={"ZipFile": make_zip(files or {"python/dep.py": "x"})}, **values
    )


async def test_a_layer_is_shown_as_it_was_published(aws):
    made = await publish(
        aws,
        Description="libraries",
        LicenseInfo="MIT",
        CompatibleRuntimes=["python3.11"],
        CompatibleArchitectures=["x86_64"],
    )
    assert (made["LayerArn"], made["LayerVersionArn"], made["Version"]) == (LAYER, f"{LAYER}:1", 1)
    shown = await aws.get_layer_version(LayerName="deps", VersionNumber=1)
    by_arn = await aws.get_layer_version_by_arn(Arn=f"{LAYER}:1")
    by_name_arn = await aws.get_layer_version(LayerName=LAYER, VersionNumber=1)
    for answer in (made, shown, by_arn, by_name_arn):
        answer.pop("ResponseMetadata")
    assert made == shown == by_arn == by_name_arn
    assert shown["Content"]["Location"].startswith("http://code/")


@pytest.mark.databases
async def test_numbers_are_never_used_again_and_functions_keep_what_they_have(aws, estate):
    await publish(aws)
    await publish(aws, files={"python/dep.py": "second"})
    function = await aws.create(Layers=[f"{LAYER}:2"])
    assert [layer["Arn"] for layer in function["Layers"]] == [f"{LAYER}:2"]
    await aws.delete_layer_version(LayerName="deps", VersionNumber=2)
    await aws.delete_layer_version(LayerName="deps", VersionNumber=2)
    assert (await publish(aws))["Version"] == 3
    await aws.update_function_configuration(FunctionName="fn", Timeout=9)
    _, kept = await estate.functions.get(ACCOUNT, "fn")
    with open(os.path.join(estate.code.path(kept.layers_digest), "python/dep.py")) as file:
        assert file.read() == "second"


async def test_layers_are_merged_in_the_functions_order(aws, estate):
    for name in "ab":
        await publish(aws, name, {"who": name, name: name})
    arns = [LAYER.replace("deps", name) + ":1" for name in "ab"]
    await aws.create(Layers=arns)
    _, function = await estate.functions.get(ACCOUNT, "fn")
    tree = estate.code.path(function.layers_digest)
    assert sorted(os.listdir(tree)) == ["a", "b", "who"]
    with open(os.path.join(tree, "who")) as file:
        assert file.read() == "b"
    cleared = await aws.update_function_configuration(FunctionName="fn", Layers=[])
    assert "Layers" not in cleared
    _, function = await estate.functions.get(ACCOUNT, "fn")
    assert function.layers_digest is None


async def test_layers_that_a_function_cannot_have(aws, refused):
    for _ in range(2):
        await publish(aws)
    six = []
    for index in range(6):
        await publish(aws, f"l{index}")
        six.append(LAYER.replace("deps", f"l{index}") + ":1")
    await aws.create("edge", Layers=six[:5])
    for layers, words in (
        (six, "5"),
        ([f"{LAYER}:1", f"{LAYER}:2"], "Two different versions"),
        ([f"{LAYER}:9"], "does not exist"),
        ([f"{LAYER}:1".replace("us-home-1", "us-east-1")], "region"),
    ):
        await refused(aws.create(Layers=layers), "InvalidParameterValueException", words)
    for layers in ([LAYER], ["deps:1"], [LAYER + ":x"]):
        with pytest.raises(aws.boto.exceptions.ClientError):
            await aws.create(Layers=layers)


async def test_the_unpacked_limit_counts_layers(tmp_path, clock, refused):
    limits = LimitSettings(code_unzipped_bytes=1000)
    db, estate = await open_estate(tmp_path / "small", clock, limits)
    aws = Owned(estate, limits)
    await publish(aws, files={"lib": bytes(600)})
    await refused(
        aws.create(Code={"ZipFile": make_zip({"app.py": bytes(401)})}, Layers=[f"{LAYER}:1"]),
        "InvalidParameterValueException",
        "1001 bytes",
    )
    await aws.create(Code={"ZipFile": make_zip({"app.py": bytes(400)})}, Layers=[f"{LAYER}:1"])
    await refused(
        aws.update_function_code(FunctionName="fn", ZipFile=make_zip({"app.py": bytes(401)})),
        "InvalidParameterValueException",
        "1001 bytes",
    )
    await publish(aws, files={"lib": bytes(601)})
    await refused(
        aws.update_function_configuration(FunctionName="fn", Layers=[f"{LAYER}:2"]),
        "InvalidParameterValueException",
        "1001 bytes",
    )
    await db.close()


@pytest.mark.databases
async def test_listing_shows_the_newest_and_what_is_compatible(aws):
    await publish(aws, "a", CompatibleRuntimes=["python3.11"])
    await publish(aws, "a", CompatibleRuntimes=["python3.12"])
    await publish(aws, "b", CompatibleArchitectures=["arm64"])
    await publish(aws, "c")

    async def newest(**values):
        page = await aws.list_layers(**values)
        return {
            layer["LayerName"]: layer["LatestMatchingVersion"]["Version"]
            for layer in page["Layers"]
        }

    assert await newest() == {"a": 2, "b": 1, "c": 1}
    assert await newest(CompatibleRuntime="python3.11") == {"a": 1}
    assert await newest(CompatibleArchitecture="arm64") == {"b": 1}
    page = await aws.list_layers(MaxItems=2)
    assert await newest(Marker=page["NextMarker"]) == {"c": 1}
    versions = await aws.list_layer_versions(LayerName="a", MaxItems=1)
    assert [v["Version"] for v in versions["LayerVersions"]] == [2]
    rest = await aws.list_layer_versions(LayerName="a", Marker=versions["NextMarker"])
    assert [v["Version"] for v in rest["LayerVersions"]] == [1]
    assert "NextMarker" not in rest
    await aws.delete_layer_version(LayerName="c", VersionNumber=1)
    assert "c" not in await newest()


@pytest.mark.databases
async def test_another_account_needs_permission(aws, refused):
    await publish(aws)
    other = aws.as_account(OTHER)
    get = {"LayerName": LAYER, "VersionNumber": 1}
    await refused(other.get_layer_version(**get), "AccessDeniedException", f"{LAYER}:1")
    await refused(other.create(Layers=[f"{LAYER}:1"]), "AccessDeniedException")
    added = await aws.add_layer_version_permission(
        LayerName="deps",
        VersionNumber=1,
        StatementId="share",
        Action="lambda:GetLayerVersion",
        Principal=OTHER,
    )
    assert json.loads(added["Statement"])["Resource"] == f"{LAYER}:1"
    await other.get_layer_version(**get)
    await other.create(Layers=[f"{LAYER}:1"])
    await refused(other.delete_layer_version(**get), "AccessDeniedException")
    policy = await aws.get_layer_version_policy(LayerName="deps", VersionNumber=1)
    assert json.loads(policy["Policy"])["Statement"][0]["Sid"] == "share"
    await refused(
        aws.add_layer_version_permission(
            LayerName="deps",
            VersionNumber=1,
            StatementId="share",
            Action="lambda:GetLayerVersion",
            Principal="*",
        ),
        "ResourceConflictException",
    )
    await refused(
        aws.remove_layer_version_permission(
            LayerName="deps", VersionNumber=1, StatementId="share", RevisionId="stale"
        ),
        "PreconditionFailedException",
    )
    await aws.remove_layer_version_permission(
        LayerName="deps", VersionNumber=1, StatementId="share"
    )
    await refused(other.get_layer_version(**get), "AccessDeniedException")
    await refused(
        aws.get_layer_version_policy(LayerName="deps", VersionNumber=1), "ResourceNotFoundException"
    )


@pytest.mark.databases
async def test_layers_that_are_not_there(aws, refused):
    await publish(aws)
    await refused(
        aws.get_layer_version(LayerName="deps", VersionNumber=2), "ResourceNotFoundException"
    )
    await refused(
        aws.get_layer_version(LayerName="deps", VersionNumber=0), "InvalidParameterValueException"
    )
    await refused(
        aws.get_layer_version(LayerName="none", VersionNumber=2**62), "ResourceNotFoundException"
    )
    assert (await aws.list_layer_versions(LayerName="none"))["LayerVersions"] == []
