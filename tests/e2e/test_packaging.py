"""Ten functions with a dependency of 50 MB in common, on a real server: stored once, unpacked once, and how it is delivered."""

import hashlib
import io
import os
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers import Server, eventually, running

pytestmark = pytest.mark.slow

MB = 1 << 20
DEPENDENCY = 48 * MB
HANDLER = "import heavy\ndef handler(event, context):\n    return [heavy.NAME, {number}]\n"


def distribution(name: str, size: int, *, files: int = 12) -> dict[str, bytes]:
    """An installed wheel with so many bytes that do not compress."""
    found = {f"{name}/__init__.py": f"NAME = {name!r}\n".encode()}
    for number in range(files):
        found[f"{name}/data/{number}.bin"] = os.urandom(size // files)
    info = f"{name}-1.0.dist-info"
    found[f"{info}/METADATA"] = f"Name: {name}\nVersion: 1.0\n".encode()
    record = "".join(f"{path},,\n" for path in [*found, f"{info}/RECORD"])
    found[f"{info}/RECORD"] = record.encode()
    return found


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            info.external_attr = 0o100644 << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def disk_bytes(folder: Path) -> int:
    """What the files take, each inode once."""
    seen = {}
    for directory, _, names in os.walk(folder):
        for name in names:
            try:
                status = (Path(directory) / name).lstat()
            except FileNotFoundError:
                continue
            seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values())


def plan(server: Server, name: str) -> dict:
    found = server.platform(f"/forerun/packaging?FunctionName={name}")
    return found["Packages"][0]


@pytest.fixture(scope="module")
def heavy() -> dict[str, bytes]:
    return distribution("heavy", DEPENDENCY)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    settings = {"FORERUN_PACKAGING_GRACE_S": "0", "FORERUN_FORESIGHT_ENABLED": "false"}
    with running(tmp_path / "data", settings=settings) as server:
        yield server


def deploy(server: Server, heavy: dict[str, bytes], number: int) -> str:
    source = HANDLER.format(number=number).encode()
    return server.function(zipped({"lambda_function.py": source, **heavy}), name=f"f-{number}")


def test_ten_functions_have_a_dependency_in_common(server: Server, heavy: dict[str, bytes]) -> None:
    first = deploy(server, heavy, 0)
    eventually(lambda: plan(server, first)["Form"] == "single")
    alone = plan(server, first)
    assert [each["Name"] for each in alone["Delivered"]] == [""]
    assert "no other function" in alone["Reason"]
    names = [first, *(deploy(server, heavy, number) for number in range(1, 10))]
    for number, name in enumerate(names):
        assert server.call(name) == ["heavy", number]
    eventually(lambda: all(plan(server, name)["Form"] == "collection" for name in names), within=30)
    shared = plan(server, first)["Delivered"][0]
    assert (shared["Name"], shared["Version"], shared["OtherFunctions"]) == ("heavy", "1.0", 9)
    assert shared["OnHost"]
    code, trees = server.data / "code", server.data / "trees"
    eventually(lambda: not list(code.glob("*.zip")), within=20, what="single files are gone")
    assert disk_bytes(code) < DEPENDENCY + 4 * MB
    assert disk_bytes(trees) < DEPENDENCY + 4 * MB
    for number, name in enumerate(names):
        function = server.lambda_.get_function(FunctionName=name)
        where = function["Code"]["Location"].removeprefix(server.endpoint)
        package = server.request("GET", where).body
        assert package == zipped(
            {"lambda_function.py": HANDLER.format(number=number).encode(), **heavy}
        )
