"""What a host says of itself: what is believed, and that nothing of it breaks anything."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agents import authority, identity
from tests.unit.cluster.near import info

from forerun.cluster import Knocker, split_address
from forerun.cluster.introductions import introduced
from forerun.errors import HostUnreachable, InvalidInput

GOOD = ["10.0.0.1:9701", "[fe80::1%eth0]:1", "host-1.example.org:65535"]
LIES = {
    "no-address": {"address": ""},
    "no-port": {"address": "10.0.0.1"},
    "long-label": {"address": "a" * 64 + ":1"},
    "empty-label": {"address": "a..b:1"},
    "line-in-address": {"address": "a\nb:1"},
    "negative-memory": {"memory_mb": -1},
    "memory-beyond-all": {"memory_mb": 2**60},
    "negative-cpus": {"cpus": -1},
    "speaks-to-terminals": {"zone": "\x1b[2J"},
    "nothing-ends-it": {"version": "1\0"},
    "long-version": {"version": "1" * 257},
    "many-labels": {"labels": {str(number): "" for number in range(101)}},
    "odd-label": {"labels": {"a": "\r\n"}},
    "many-runtimes": {"runtimes": tuple(map(str, range(101)))},
}


@pytest.mark.parametrize("address", GOOD)
def test_addresses_as_hosts_have_them_are_believed(address) -> None:
    said = info(address)
    assert introduced(said) is said


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_what_cannot_be_is_not_believed(lie) -> None:
    with pytest.raises(InvalidInput):
        introduced(msgspec.structs.replace(info("10.0.0.1:1"), **lie))


@given(st.text(max_size=80))
def test_an_address_that_is_believed_can_be_read(address) -> None:
    try:
        introduced(info(address + ":80"))
    except InvalidInput:
        return
    host, port = split_address(address + ":80")
    assert (host.encode("idna") != b"", port) == (True, 80)


@pytest.mark.parametrize(
    "address", ["a" * 64 + ":1", "a..b:1", "\ud800:1"], ids=["long", "empty", "half"]
)
async def test_an_address_that_is_none_is_nobodys(address) -> None:
    with pytest.raises(HostUnreachable):
        await Knocker(identity(authority(), "host-1", "host")).knock(address, "tree")
