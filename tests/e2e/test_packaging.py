"""Ten functions with a dependency of 50 MB in common, on a real server: stored once, unpacked once, and how it is delivered."""

import io
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import botocore.exceptions
import pytest
from tests.servers import FORERUN, Server, clean_environment, eventually, running

pytestmark = pytest.mark.slow

MB = 1 << 20
DEPENDENCY = 48 * MB
HANDLER = "import heavy\ndef handler(event, context):\n    return [heavy.NAME, {number}]\n"


def distribution(name: str, size: int, *, files: int = 12, text: bool = False) -> dict[str, bytes]:
    """An installed wheel with so many bytes that do not compress, or to half of it as ``text``."""
    found = {f"{name}/__init__.py": f"NAME = {name!r}\n".encode()}
    for number in range(files):
        noise = os.urandom(size // files)
        if text:
            found[f"{name}/data/{number}.txt"] = noise.hex().encode()[: len(noise)]
        else:
            found[f"{name}/data/{number}.bin"] = noise
    info = f"{name}-1.0.dist-info"
    found[f"{info}/METADATA"] = f"Name: {name}\nVersion: 1.0\n".encode()
    record = "".join(f"{path},,\n" for path in [*found, f"{info}/RECORD"])
    found[f"{info}/RECORD"] = record.encode()
    return found


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            info.external_attr = 0o100644 << 16
            stored = name.endswith(".bin")
            archive.writestr(info, content, zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
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
    eventually(lambda: plan(server, first)["Delivered"][0]["OtherFunctions"] == 9)
    shared = plan(server, first)["Delivered"][0]
    assert (shared["Name"], shared["Version"]) == ("heavy", "1.0")
    assert shared["OnHost"]
    assert server.platform(f"/forerun/packaging?FunctionName={first}")["Warnings"] == []
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


def test_the_second_function_starts_faster_by_the_transfer(server: Server) -> None:
    """On a host that has nothing of either: the first brings the dependency, the second finds it."""
    heavy = distribution("heavy", 36 * MB, text=True)
    names = [deploy(server, heavy, number) for number in range(3)]
    eventually(lambda: all(plan(server, name)["Form"] == "collection" for name in names), within=30)
    shutil.rmtree(server.data / "trees")
    (server.data / "trees").mkdir(mode=0o700)
    taken = []
    for number, name in enumerate(names):
        assert server.call(name) == ["heavy", number]
        record = eventually(lambda name=name: server.invocations(name))[0]
        timings = record["timings"]
        taken.append(timings["loaded"] - timings["acquired"])
    # What is left to do is to read the dependency once more: it is compared with its name each time.
    assert min(taken[1:]) < taken[0] * 0.6, taken
    assert disk_bytes(server.data / "trees") < 40 * MB


def test_code_that_is_gone_fails_its_calls_and_nothing_else(server: Server) -> None:
    source = "def handler(event, context):\n    return 1\n"
    gone, other = server.function(source, Publish=True), server.function(source + "# other\n")
    digest = server.lambda_.get_function(FunctionName=gone)["Code"]["Location"]
    digest = digest.partition("?")[0].rpartition("/")[2]
    (server.data / "code" / f"{digest}.zip").unlink()
    shutil.rmtree(server.data / "trees" / digest)
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        server.call(gone)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
    assert server.call(other) == 1


def test_popularity_flips_the_plan_both_ways(server: Server) -> None:
    common = distribution("common", 4 * MB)
    rare = distribution("rare", 4 * MB)
    source = {"lambda_function.py": b"def handler(event, context):\n    return 1\n"}
    first = server.function(zipped(source | common | rare), name="first")
    eventually(lambda: plan(server, first)["Form"] == "single")
    second = server.function(zipped({**source, "more.py": b"", **common}), name="second")
    found = eventually(lambda: (it := plan(server, first))["Form"] == "collection" and it)
    assert [each["Name"] for each in found["Delivered"]] == ["common", ""]
    assert found["UseRate"] > found["ThresholdUseRate"] > 0
    server.lambda_.delete_function(FunctionName=second)
    # The deploy of the one that is left makes it be looked at at once; otherwise the sweep comes to it.
    server.lambda_.update_function_configuration(FunctionName=first, Description="looked at")
    eventually(lambda: plan(server, first)["Form"] == "single", within=20)
    assert server.call(first) == 1


def test_a_damaged_object_is_made_again(server: Server, heavy: dict[str, bytes]) -> None:
    names = [deploy(server, heavy, number) for number in range(2)]
    eventually(lambda: all(plan(server, name)["Form"] == "collection" for name in names), within=30)
    [unpacked] = (server.data / "trees" / "objects").iterdir()
    file = unpacked / "heavy" / "__init__.py"
    file.chmod(0o644)
    file.write_text("NAME = 'evil'\n")
    assert server.call(deploy(server, heavy, 2)) == ["heavy", 2]
    for path in (server.data / "trees").glob("*/heavy/__init__.py"):
        eventually(lambda path=path: "evil" not in path.read_text(), what=f"{path} is sound")
    assert [server.call(name) for name in names] == [["heavy", 0], ["heavy", 1]]


def test_the_command_tells_the_plan(
    server: Server, heavy: dict[str, bytes], tmp_path: Path
) -> None:
    name = deploy(server, heavy, 0)
    told = subprocess.run(
        [str(FORERUN), "packaging", name, "--data", str(server.data)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env=clean_environment(tmp_path),
    )
    said = told.stdout + told.stderr
    assert "the function's package: a single file" in said
    assert "no other function uses what it holds" in said
    answer = server.request(
        "GET",
        "/forerun/packaging?FunctionName=nobody",
        headers=server.signed("GET", "/forerun/packaging?FunctionName=nobody", service="forerun"),
    )
    assert answer.status == 404
