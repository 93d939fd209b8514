"""A function that imports boto3 and numpy: its second sandbox against what the imports alone cost an interpreter."""

import io
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from case import Run
from client import Connection, Samples, Target
from results import Line
from server import Server

CACHE = Path.home() / ".cache" / "forerun-bench"
PACKAGES = ("boto3", "numpy")
SOURCE = """import time
import boto3
import numpy

def handler(event, context):
    time.sleep(event.get("sleep", 0))
    return {"ok": int(numpy.arange(3).sum()), "boto3": boto3.__version__}
"""
HOLD_S = 1.0


def _folder() -> Path:
    """Both packages for this Python, installed once into the cache."""
    folder = CACHE / f"heavy-{sys.version_info.major}.{sys.version_info.minor}"
    if not (folder / ".complete").exists():
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--target",
                folder,
                "--upgrade",
                *PACKAGES,
            ],
            check=True,
            timeout=300,
        )
        (folder / ".complete").touch()
    return folder


def _package(folder: Path) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        archive.writestr("app.py", SOURCE)
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not {"__pycache__", "tests", "bin"} & set(
                path.relative_to(folder).parts
            ):
                archive.write(path, path.relative_to(folder))
    return out.getvalue()


def _plain_import_ms(folder: Path) -> float:
    """Milliseconds of the two imports in a fresh interpreter, its own start not counted."""
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); import time; t = time.perf_counter();"
        "import boto3, numpy; print((time.perf_counter() - t) * 1000)"
    )
    return float(
        subprocess.check_output([sys.executable, "-I", "-S", "-c", code], text=True, timeout=60)
    )


def _more_sandboxes(held: Target, target: Target, count: int) -> Samples:
    """Time calls that need one more sandbox each, while all there are hold a call."""
    samples = Samples()
    for sandboxes in range(1, count + 1):
        connections = [Connection(held) for _ in range(sandboxes)]
        threads = [threading.Thread(target=connection.once) for connection in connections]
        for thread in threads:
            thread.start()
        time.sleep(HOLD_S / 3)
        probe = Connection(target)
        took = probe.once()
        if probe.start_type() != "warm":
            samples.take(took, probe)
        for thread in threads:
            thread.join(60)
        for connection in (probe, *connections):
            connection.close()
    return samples


def _pair(server: Server, qualifier: str = "") -> tuple[Target, Target]:
    """The call that holds a sandbox, and the one that is timed; the first sandbox is there afterwards."""
    plain = server.target("heavy", qualifier)
    held = Target(plain.url, f'{{"sleep": {HOLD_S}}}'.encode()).signed(server.environment)
    connection = Connection(plain)
    connection.once()
    connection.close()
    return held, plain


def heavy_imports(run: Run) -> Iterator[Line]:
    """The second sandbox of such a function, without SnapStart and with it, beside the plain imports."""
    folder = _folder()
    _plain_import_ms(folder)
    plain = [_plain_import_ms(folder) for _ in run.rounds(7, 5)]
    imports = run.median("plain import of boto3 and numpy", plain, "ms")
    yield imports
    package = _package(folder)
    count = run.size(6, 3)
    with Server() as server:
        server.create("heavy", zip=package, Timeout=60, MemorySize=1769)
        for _ in run.rounds(1):
            without = _more_sandboxes(*_pair(server), count)
    what, spent = (
        "second sandbox, without SnapStart",
        f"package {len(package) / 1e6:.0f} MB; ms until {without.spent()}",
    )
    each = [took * 1000 for took in without.seconds]
    yield run.median(what, each, "ms", (imports.value or 0) + 5, note=spent)
    yield _snap_start(run, package, count)


def _snap_start(run: Run, package: bytes, count: int) -> Line:
    what = "second sandbox, SnapStart"
    with Server() as server:
        snap_start = {"ApplyOn": "PublishedVersions"}
        server.create("heavy", zip=package, Timeout=60, MemorySize=1769, SnapStart=snap_start)
        version = server.api().publish_version(FunctionName="heavy")
        server.api().get_waiter("published_version_active").wait(
            FunctionName="heavy", Qualifier=version["Version"]
        )
        told = version.get("SnapStart", {}).get("OptimizationStatus")
        if told != "On":
            return run.line(what, None, "ms", 10, note=f"not served: OptimizationStatus {told}")
        for _ in run.rounds(1):
            samples = _more_sandboxes(*_pair(server, version["Version"]), count)
    each = [took * 1000 for took in samples.seconds]
    return run.median(what, each, "ms", 10, note=f"ms until {samples.spent()}")
