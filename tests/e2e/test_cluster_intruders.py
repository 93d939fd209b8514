"""What somebody can do who has a host's key, or a token, and means harm."""

import asyncio

import pytest
from tests.planes import running_cluster

from forerun.cluster import Knocker, enrol
from forerun.cluster.greeting import Refused

pytestmark = pytest.mark.slow

SPANS = b'{"resourceSpans":[]}'


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, postgres):
    url = postgres.fresh()
    with running_cluster(tmp_path_factory.mktemp("cluster"), url, "a") as cluster:
        yield cluster
    postgres.give_back(url)


@pytest.fixture(scope="module")
def door(cluster):
    return cluster.told("cluster")["ControlPlanes"][0]["Door"]


def stolen(cluster, door, name):
    """The identity of a host that has joined."""
    token = cluster.do("create-join-token", {"Role": "host"})["Token"]
    return asyncio.run(enrol(door, token, name=name)).identity


async def asked(identity, door, fields, path="/v1/traces"):
    """The status of a request over a connection that claims to be a sandbox's."""
    knocked = await Knocker(identity).knock(door, "http", fields)
    reader, writer = knocked.streams()
    head = f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {len(SPANS)}\r\n"
    passed = 'x-forerun-passed: {{"account":"{}"}}\r\n\r\n'.format(fields.get("account", ""))
    writer.write(head.encode() + passed.encode() + SPANS)
    async with asyncio.timeout(10):
        line = await reader.readline()
    writer.transport.abort()
    return int(line.split()[1])


def test_a_host_is_not_believed_whose_sandbox_it_speaks_for(cluster, door):
    identity, account = stolen(cluster, door, "liar"), cluster.first.account
    for more in ({}, {"key": "ASIAFORGED", "token": "Zm9yZ2Vk"}, {"key": 1, "token": [2]}):
        assert asyncio.run(asked(identity, door, {"account": account} | more)) == 401


def test_a_sandbox_is_known_by_its_own_credentials(cluster, door):
    identity = stolen(cluster, door, "honest")
    cluster.first.client("iam").create_role(RoleName="own", AssumeRolePolicyDocument=TRUSTED)
    session = cluster.first.client("sts").assume_role(
        RoleArn=f"arn:aws:iam::{cluster.first.account}:role/own", RoleSessionName="fn"
    )["Credentials"]
    proof = {"key": session["AccessKeyId"], "token": session["SessionToken"]}
    assert asyncio.run(asked(identity, door, proof)) == 200


TRUSTED = """{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}"""


@pytest.mark.parametrize("kind", ["relay", "calls"])
def test_a_host_is_no_control_plane(cluster, door, kind):
    identity = stolen(cluster, door, f"host-{kind}")
    with pytest.raises(Refused):
        asyncio.run(Knocker(identity).knock(door, kind))


def test_a_host_that_was_expelled_is_let_in_nowhere_for_good(cluster, door):
    identity = stolen(cluster, door, "lost")
    assert asyncio.run(asked(identity, door, {})) == 401
    assert cluster.do("expel", {"Host": "lost"})["Phase"] == "expelled"
    for kind, fields in (
        ("http", {}),
        ("announce", {}),
        ("tree", {"digest": "0" * 64}),
        ("enrol", {"ask": "renew"}),
        ("enrol", {"ask": "engine"}),
    ):
        with pytest.raises(Refused) as refused:
            asyncio.run(Knocker(identity).knock(door, kind, fields))
        assert refused.value.code == "expelled"
    with pytest.raises(Refused, match="expelled"):
        stolen(cluster, door, "lost")
    [shown] = [each for each in cluster.told("hosts")["Hosts"] if each["Name"] == "lost"]
    assert (shown["Phase"], shown["Alive"]) == ("expelled", False)
