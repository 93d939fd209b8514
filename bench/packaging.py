"""What functions with a dependency in common cost: CreateFunction, the disk, and first starts on a host that has nothing.

    .venv/bin/python bench/packaging.py [--quick] [--out FILE]

Two dependencies: few large files that do not compress, and thousands of small ones that do. First starts are those after
``trees/`` was emptied, as on a new machine: from when the sandbox was there to when the code was loaded. Prints JSON.
"""

import argparse
import io
import os
import random
import shutil
import statistics
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from case import Run
from preload import wait
from quiet import machine
from results import Line, as_json
from server import Server

MB = 1 << 20
HANDLER = "import heavy\ndef handler(event, context):\n    return {number}\n"


def large(size: int) -> dict[str, bytes]:
    """Twelve files of noise."""
    return {f"heavy/{number}.bin": os.urandom(size // 12) for number in range(12)}


def small(size: int) -> dict[str, bytes]:
    """Files of 8 KB of Python each."""
    words = [f"name_{number} = {number * number}\n" for number in range(4000)]
    chosen = random.Random(4)
    found = {}
    for number in range(size // 8192):
        text = "".join(chosen.choices(words, k=420)).encode()
        found[f"heavy/p{number // 50}/m{number}.py"] = text
    return found


def zipped(files: dict[str, bytes], number: int) -> bytes:
    """A package of that dependency and a handler of its own."""
    files = {"heavy/__init__.py": b"", **files, "heavy-1.0.dist-info/METADATA": b"Name: heavy\n"}
    record = "".join(f"{path},,\n" for path in files)
    files["heavy-1.0.dist-info/RECORD"] = record.encode()
    files["app.py"] = HANDLER.format(number=number).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            stored = name.endswith(".bin")
            archive.writestr(info, content, zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
    return out.getvalue()


def disk_mb(folder: Path) -> float:
    """What the files below take, each once."""
    seen = {}
    for directory, _, names in os.walk(folder):
        for name in names:
            status = (Path(directory) / name).lstat()
            seen[status.st_ino] = status.st_blocks * 512
    return sum(seen.values()) / MB


def create(server: Server, name: str, package: bytes) -> float:
    """Milliseconds of CreateFunction."""
    began = time.perf_counter()
    server.create(name, zip=package, Timeout=30)
    return (time.perf_counter() - began) * 1000


def loading(server: Server, name: str) -> float:
    """Milliseconds from sandbox to loaded code, of the only call."""
    reply = server.api().invoke(FunctionName=name, Payload=b"{}")
    assert "FunctionError" not in reply, reply["Payload"].read()
    path = f"/forerun/invocations?FunctionName={name}&MaxItems=1"
    [record] = wait(lambda: server.ask(path)["Invocations"])
    timings = record["timings"]
    return (timings["loaded"] - timings["acquired"]) * 1000


def is_collection(server: Server, name: str) -> bool:
    shown = server.ask(f"/forerun/packaging?FunctionName={name}")
    return shown["Packages"][0]["Form"] == "collection"


def shared(run: Run, what: str, files: dict[str, bytes], *, compare: bool) -> Iterator[Line]:
    """Ten functions with these files in common."""
    names = [f"f{number}" for number in range(run.size(10, 4))]
    with Server(foresight_enabled="false", packaging_grace_s=0) as server:
        took = [create(server, name, zipped(files, n)) for n, name in enumerate(names)]
        yield run.line(f"{what}: CreateFunction, first", took[0], "ms")
        rest = statistics.median(took[1:])
        yield run.line(f"{what}: CreateFunction, others", rest, "ms")
        if not compare:
            return
        wait(lambda: all(is_collection(server, name) for name in names), within=120)
        wait(lambda: not list((server.data / "code").glob("*.zip")), within=60)
        size = sum(map(len, files.values())) / MB
        note = f"{len(names)} functions of {size:.0f} MB each"
        yield run.line(f"{what}: stored", disk_mb(server.data / "code"), "MB", note=note)
        yield run.line(f"{what}: unpacked", disk_mb(server.data / "trees"), "MB", note=note)
        shutil.rmtree(server.data / "trees")
        (server.data / "trees").mkdir(mode=0o700)
        first, *others = [loading(server, name) for name in names]
        yield run.line(f"{what}: first start on the host, first", first, "ms")
        yield run.line(f"{what}: first start on the host, others", statistics.median(others), "ms")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--create", action="store_true", help="CreateFunction only")
    parser.add_argument("--out", help="also write the JSON to this file")
    asked = parser.parse_args()
    run = Run("packaging", quick=asked.quick)
    lines = [
        *shared(run, "12 files", large(48 * MB), compare=not asked.create),
        *shared(run, "3,000 files", small(24 * MB), compare=not asked.create),
    ]
    text = as_json(lines, machine=machine(), quick=asked.quick)
    if asked.out:
        Path(asked.out).write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
