"""boto3: versions that never change, aliases that point at them, layers below them."""

import uuid

import pytest
from tests.servers import Server, package

pytestmark = pytest.mark.conformance


def saying(number: int) -> bytes:
    return package({"lambda_function.py": f"def handler(event, context):\n    return {number}\n"})


def test_published_versions_are_immutable(server: Server, refused):
    lam = server.lambda_
    name = server.function(saying(1))
    first = lam.publish_version(FunctionName=name, Description="one")
    assert first["Version"] == "1"
    assert first["FunctionArn"].endswith(f":{name}:1")
    lam.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1")
    assert lam.publish_version(FunctionName=name)["Version"] == "1", "nothing had changed"

    second = lam.update_function_code(FunctionName=name, ZipFile=saying(2), Publish=True)
    assert second["Version"] == "2"
    lam.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    lam.update_function_code(FunctionName=name, ZipFile=saying(3))

    assert server.call(name, Qualifier="1") == 1
    assert server.call(name, Qualifier="2") == 2
    assert server.call(name) == 3
    assert server.call(f"{name}:1") == 1
    reply = lam.invoke(FunctionName=name, Qualifier="2")
    assert reply["ExecutedVersion"] == "2"
    shown = lam.list_versions_by_function(FunctionName=name)["Versions"]
    assert [version["Version"] for version in shown] == ["$LATEST", "1", "2"]

    with refused("ResourceNotFoundException", 404):
        lam.invoke(FunctionName=name, Qualifier="9")
    lam.delete_function(FunctionName=name, Qualifier="1")
    with refused("ResourceNotFoundException", 404):
        lam.invoke(FunctionName=name, Qualifier="1")
    assert server.call(name, Qualifier="2") == 2


def test_publish_with_another_hash_is_refused(server: Server, refused):
    name = server.function(saying(1))
    with pytest.raises(server.lambda_.exceptions.ClientError) as caught:
        server.lambda_.publish_version(FunctionName=name, CodeSha256="bm90IHRoaXMgb25l")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 412)


def test_aliases_follow_their_version(server: Server, refused):
    lam = server.lambda_
    name = server.function(saying(1), Publish=True)
    lam.update_function_code(FunctionName=name, ZipFile=saying(2), Publish=True)
    made = lam.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert made["AliasArn"].endswith(f":{name}:live")
    assert server.call(name, Qualifier="live") == 1
    lam.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    assert server.call(name, Qualifier="live") == 2
    with refused("ResourceConflictException", 409):
        lam.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    with refused("ResourceNotFoundException", 404):
        lam.get_alias(FunctionName=name, Name="dead")
    with pytest.raises(lam.exceptions.ClientError):
        lam.create_alias(FunctionName=name, Name="ghost", FunctionVersion="7")
    assert [a["Name"] for a in lam.list_aliases(FunctionName=name)["Aliases"]] == ["live"]
    lam.delete_alias(FunctionName=name, Name="live")
    with refused("ResourceNotFoundException", 404):
        lam.invoke(FunctionName=name, Qualifier="live")


def test_weights_split_the_calls(server: Server):
    lam = server.lambda_
    name = server.function(saying(1), Publish=True)
    lam.update_function_code(FunctionName=name, ZipFile=saying(2), Publish=True)
    lam.create_alias(
        FunctionName=name,
        Name="canary",
        FunctionVersion="1",
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}},
    )
    replies = [lam.invoke(FunctionName=name, Qualifier="canary") for _ in range(60)]
    versions = [reply["ExecutedVersion"] for reply in replies]
    assert [reply["Payload"].read().decode() for reply in replies] == versions
    # 60 fair coins: fewer than 10 of one kind has a probability below 1e-7.
    assert 10 <= versions.count("2") <= 50
    lam.update_alias(
        FunctionName=name, Name="canary", RoutingConfig={"AdditionalVersionWeights": {}}
    )
    assert {server.call(name, Qualifier="canary") for _ in range(20)} == {1}


def test_layers_are_merged_in_order(server: Server, refused):
    lam = server.lambda_
    layer, other = f"lib-{uuid.uuid4().hex[:8]}", f"lib-{uuid.uuid4().hex[:8]}"

    def publish(name: str, files: dict[str, str]) -> str:
        made = lam.publish_layer_version(
            LayerName=name, Content={"ZipFile": package(files)}, CompatibleRuntimes=["python3.11"]
        )
        return str(made["LayerVersionArn"])

    one = publish(layer, {"python/prices.py": "VAT = 19\n", "data/city.txt": "Ulm"})
    assert publish(layer, {"python/prices.py": "VAT = 0\n"}) == one[:-1] + "2"
    two = publish(other, {"python/prices.py": "VAT = 7\n"})
    code = (
        "import prices\n"
        "def handler(event, context):\n"
        "    return [prices.VAT, open('/opt/data/city.txt').read()]\n"
    )
    name = server.function(code, Layers=[one, two])
    assert server.call(name) == [7, "Ulm"]
    shown = lam.get_function_configuration(FunctionName=name)["Layers"]
    assert [item["Arn"] for item in shown] == [one, two]

    assert lam.get_layer_version_by_arn(Arn=one)["Version"] == 1
    assert lam.get_layer_version(LayerName=other, VersionNumber=1)["LayerVersionArn"] == two
    listed = lam.list_layer_versions(LayerName=layer)["LayerVersions"]
    assert [item["Version"] for item in listed] == [2, 1]
    assert layer in [item["LayerName"] for item in lam.list_layers()["Layers"]]
    lam.delete_layer_version(LayerName=layer, VersionNumber=1)
    with refused("ResourceNotFoundException", 404):
        lam.get_layer_version(LayerName=layer, VersionNumber=1)
    assert server.call(name) == [7, "Ulm"], "a function keeps the layers it was made with"

    lam.add_layer_version_permission(
        LayerName=layer,
        VersionNumber=2,
        StatementId="all",
        Action="lambda:GetLayerVersion",
        Principal="*",
    )
    assert (
        "lambda:GetLayerVersion"
        in lam.get_layer_version_policy(LayerName=layer, VersionNumber=2)["Policy"]
    )


def test_layer_that_does_not_exist(server: Server):
    absent = f"arn:aws:lambda:{server.region}:{server.account}:layer:absent:1"
    with pytest.raises(server.lambda_.exceptions.InvalidParameterValueException):
        server.function(saying(1), Layers=[absent])
