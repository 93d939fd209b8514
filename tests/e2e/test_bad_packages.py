"""Packages made to harm: each is refused with a clear error, leaves nothing behind, and the next one is served."""

import io
import stat
import struct
import uuid
import zipfile
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError
from tests.servers import Server, package

pytestmark = pytest.mark.slow

GOOD = "def handler(event, context):\n    return 'fine'\n"
MB = 1024 * 1024


def archive(fill: Callable[[zipfile.ZipFile], None]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("lambda_function.py", GOOD)
        fill(made)
    return out.getvalue()


def named(name: str) -> bytes:
    return archive(lambda made: made.writestr(name, "evil"))


def link(name: str, target: str) -> bytes:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return archive(lambda made: made.writestr(info, target))


def device(name: str) -> bytes:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFCHR | 0o666) << 16
    return archive(lambda made: made.writestr(info, b""))


def bomb() -> bytes:
    """Some 300 KB that become more than 250 MB."""

    def fill(made: zipfile.ZipFile) -> None:
        zeros = bytes(8 * MB)
        with made.open("zeros", "w", force_zip64=True) as entry:
            for _ in range(33):
                entry.write(zeros)

    return archive(fill)


def lying_bomb() -> bytes:
    """A bomb whose directory says that it is small."""
    data = bytearray(bomb())
    at = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, at + 24, 100)
    return bytes(data)


def encrypted() -> bytes:
    data = bytearray(package({"lambda_function.py": GOOD}))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(magic) + offset
        struct.pack_into("<H", data, at, struct.unpack_from("<H", data, at)[0] | 1)
    return bytes(data)


def many() -> bytes:
    """More entries than any function has files."""

    def fill(made: zipfile.ZipFile) -> None:
        for n in range(100_001):
            made.writestr(zipfile.ZipInfo(f"d/{n}"), b"")

    return archive(fill)


def damaged() -> bytes:
    data = bytearray(package({"lambda_function.py": GOOD, "data": "abc" * 10_000}))
    at = data.index(b"data") + 10
    data[at : at + 8] = b"\xff" * 8
    return bytes(data)


ATTACKS: dict[str, Callable[[], bytes]] = {
    "bomb": bomb,
    "lying-bomb": lying_bomb,
    "parent": lambda: named("../evil"),
    "deep-parent": lambda: named("a/../../../evil"),
    "absolute": lambda: named("/evil"),
    "backslash": lambda: named("..\\evil"),
    "link-out": lambda: link("shadow", "/etc/shadow"),
    "link-up": lambda: link("up", "../../../../etc"),
    "device": lambda: device("null"),
    "encrypted": encrypted,
    "many": many,
    "truncated": lambda: package({"lambda_function.py": GOOD * 100})[:-40],
    "damaged": damaged,
    "empty": lambda: b"PK\x05\x06" + bytes(18),
    "file-and-folder": lambda: archive(
        lambda made: (made.writestr("a", "file"), made.writestr("a/b", "below"))
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_harmful_packages(server: Server, attack: str):
    name = f"zip-{uuid.uuid4().hex[:8]}"
    evils = [server.data / "evil", server.data.parent / "evil", server.data / "trees" / "evil"]
    with pytest.raises(ClientError) as caught:
        server.function(ATTACKS[attack](), name=name)
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400, response
    assert response["Error"]["Code"] == "InvalidParameterValueException"
    assert len(response["Error"]["Message"]) > 20
    assert str(server.data) not in response["Error"]["Message"]
    assert not any(path.exists() for path in evils)
    with pytest.raises(server.lambda_.exceptions.ResourceNotFoundException):
        server.lambda_.get_function(FunctionName=name)
    assert server.call(server.function(GOOD, name=name)) == "fine"


def test_a_link_never_leads_out(server: Server):
    """A link inside its package may be refused or served; one that is served shows nothing of the host."""
    code = "import os\ndef handler(event, context):\n    return sorted(os.listdir('/var/task'))\n"
    out = io.BytesIO(link("inner", "lambda_function.py"))
    with zipfile.ZipFile(out, "a") as made:
        made.writestr("probe.py", code)
    name = server.function(out.getvalue(), handler="probe.handler")
    assert "lambda_function.py" in server.call(name)


def exactly(size: int) -> bytes:
    """A package of so many bytes."""

    def made(filler: int) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("lambda_function.py", GOOD)
            archive.writestr("filler", bytes(filler))
        return out.getvalue()

    return made(size - len(made(0)))


def test_packages_at_the_limit_of_50_mb(server: Server):
    package_50 = exactly(50 * MB)
    assert len(package_50) == 50 * MB
    assert server.call(server.function(package_50)) == "fine"


@pytest.mark.parametrize("excess", [0, 1])
def test_packages_at_the_limit_of_250_mb_unpacked(server: Server, excess: int):
    size = 250 * MB - len(GOOD) + excess

    def fill(made: zipfile.ZipFile) -> None:
        with made.open("zeros", "w", force_zip64=True) as entry:
            for _ in range(size // MB):
                entry.write(bytes(MB))
            entry.write(bytes(size % MB))

    if excess:
        with pytest.raises(ClientError, match="Unzipped size must be smaller than 262144000 bytes"):
            server.function(archive(fill))
    else:
        assert server.call(server.function(archive(fill))) == "fine"
