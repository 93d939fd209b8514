"""Hosts and join tokens at the platform's API: for whom, with what bounds, and what stands in the answers."""

import msgspec
import pytest
from tests.databases import open_database
from tests.fakes.clock import FakeClock

from forerun.api.caller import Caller
from forerun.api.hosts import HostRoutes, ShownHost, TokenRoutes
from forerun.cluster import parse_token
from forerun.errors import AccessDenied, InvalidInput, NotFound
from forerun.model import ChannelQuality, Phase
from forerun.storage.trust import TrustStore

OPERATOR, OTHER = "111111111111", "222222222222"


def caller(account=OPERATOR):
    return Caller(
        account=account,
        region="us-home-1",
        principal_arn=f"arn:aws:iam::{account}:root",
        access_key_id="AKIA",
        request_id="r",
    )


class FakeHosts:
    def __init__(self):
        self.wished = []

    async def shown(self):
        return [
            ShownHost(name="h", channels={"db:5432": ChannelQuality(1.5)}, phase=Phase.CORDONED)
        ]

    async def wish(self, name, phase):
        if name != "h":
            raise NotFound(f"There is no host {name}.")
        self.wished.append((name, phase))

    async def expel(self, name):
        self.wished.append((name, Phase.EXPELLED))


async def test_hosts_are_told_with_their_members_named_as_all_answers():
    answer = await HostRoutes(FakeHosts(), lambda: OPERATOR).routes()["hosts"](caller(), {})
    [host] = msgspec.json.decode(msgspec.json.encode(answer))["Hosts"]
    assert (host["Name"], host["Phase"], host["Alive"]) == ("h", "cordoned", False)
    assert host["BeatAgeS"] is None
    assert host["Channels"]["db:5432"][0] == 1.5


@pytest.mark.parametrize(
    ("command", "phase"),
    [("cordon", Phase.CORDONED), ("uncordon", Phase.ACTIVE), ("drain", Phase.DRAINING)],
)
async def test_wishes_reach_the_host_that_is_named(command, phase):
    hosts = FakeHosts()
    commands = HostRoutes(hosts, lambda: OPERATOR).commands()
    await commands[command](caller(), {"Host": "h"})
    assert hosts.wished == [("h", phase)]
    with pytest.raises(NotFound):
        await commands[command](caller(), {"Host": "other"})
    for wrong in ({}, {"Host": 5}, {"Host": ""}, {"Host": "x" * 64}):
        with pytest.raises(InvalidInput, match="Host must be"):
            await commands[command](caller(), wrong)


async def test_any_name_may_be_expelled_that_can_be_one():
    hosts = FakeHosts()
    expel = HostRoutes(hosts, lambda: OPERATOR).commands()["expel"]
    assert (await expel(caller(), {"Host": "never-seen"}))["Phase"] == "expelled"
    assert hosts.wished == [("never-seen", Phase.EXPELLED)]
    for wrong in ({}, {"Host": "A"}, {"Host": "a\0b"}):
        with pytest.raises(InvalidInput):
            await expel(caller(), wrong)


@pytest.fixture
async def tokens(tmp_path):
    db = await open_database(tmp_path / "forerun.db")

    async def door():
        return "10.0.0.1:9701"

    yield TokenRoutes(TrustStore(db), "a" * 32, FakeClock(), lambda: OPERATOR, door=door)
    await db.close()


@pytest.mark.databases
async def test_a_token_is_shown_once_listed_and_revoked(tokens):
    made = await tokens.commands()["create-join-token"](
        caller(), {"Role": "control", "TtlSeconds": 60, "Uses": 2}
    )
    secret, authority = parse_token(made["Token"])
    assert authority == "a" * 32
    assert made["Address"] == "10.0.0.1:9701"
    listed = await tokens.routes()["join-tokens"](caller(), {})
    [kept] = listed["Tokens"]
    assert (kept["Id"], kept["Role"], kept["Uses"], kept["Usable"]) == (
        made["Id"],
        "control",
        2,
        True,
    )
    assert secret not in str(listed)
    revoke = tokens.commands()["revoke-join-token"]
    await revoke(caller(), {"Id": made["Id"]})
    assert (await tokens.routes()["join-tokens"](caller(), {}))["Tokens"] == []
    with pytest.raises(NotFound, match="forerun token list"):
        await revoke(caller(), {"Id": made["Id"]})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"Role": 5}, "Role must be"),
        ({"Role": "root"}, "role must be"),
        ({"TtlSeconds": True}, "TtlSeconds must be a number"),
        ({"TtlSeconds": 1}, "ttl must be"),
        ({"Uses": "many"}, "Uses must be a number"),
        ({"Uses": 1e300}, "uses must be"),
        ({"Uses": float("inf")}, "Uses must be a number"),
        ({"TtlSeconds": float("nan")}, "TtlSeconds must be a number"),
        ({"Uses": 0}, "uses must be"),
    ],
    ids=str,
)
async def test_tokens_out_of_bounds_are_refused(tokens, given, said):
    with pytest.raises(InvalidInput, match=said):
        await tokens.commands()["create-join-token"](caller(), given)


async def test_only_the_operator_may(tokens):
    hosts = HostRoutes(FakeHosts(), lambda: OPERATOR)
    for route in (hosts.routes() | tokens.routes()).values():
        with pytest.raises(AccessDenied):
            await route(caller(OTHER), {})
    for command in (hosts.commands() | tokens.commands()).values():
        with pytest.raises(AccessDenied):
            await command(caller(OTHER), {"Host": "h", "Id": "x"})
