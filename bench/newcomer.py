"""From nothing to the first answer: a new environment, the wheel with all it needs from the registry, and four commands."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from case import Run
from results import Line
from server import HELLO

ROOT = Path(__file__).resolve().parent.parent


def build_wheel(folder: Path) -> Path:
    uv = Path(sys.executable).parent / "uv"
    subprocess.run(
        [uv, "build", "--quiet", "--wheel", "--no-build-isolation", "--out-dir", folder, ROOT],
        check=True,
        timeout=120,
        env={**os.environ, "VIRTUAL_ENV": str(Path(sys.executable).parent.parent)},
    )
    return next(folder.glob("*.whl"))


def steps_of(wheel: Path, folder: Path) -> dict[str, float]:
    """Seconds of each step, as a newcomer types them; pip caches nothing."""
    steps: dict[str, float] = {}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    environment |= {
        "HOME": str(folder),
        "PIP_NO_CACHE_DIR": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    binaries, data = folder / "venv" / "bin", folder / "data"
    (folder / "hello").mkdir()
    (folder / "hello" / "app.py").write_text(HELLO)

    def timed(name: str, *command: object) -> str:
        began = time.perf_counter()
        done = subprocess.run(
            [str(each) for each in command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        steps[name] = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stdout[-300:]}{done.stderr[-300:]}")
        return done.stdout

    timed("venv", sys.executable, "-m", "venv", folder / "venv")
    timed("install", binaries / "pip", "install", "--quiet", wheel)
    began = time.perf_counter()
    up = subprocess.Popen(
        [binaries / "forerun", "up", "--listen", "127.0.0.1:0", "--data", data],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    )
    try:
        line = up.stdout.readline()
        steps["up"] = time.perf_counter() - began
        if "http://" not in line:
            raise RuntimeError(f"up: {line}")
        timed("deploy", binaries / "forerun", "deploy", folder / "hello", "--data", data)
        answer = timed("invoke", binaries / "forerun", "invoke", "hello", "--data", data)
        if json.JSONDecoder().raw_decode(answer)[0] != {"ok": True}:
            raise RuntimeError(f"invoke: {answer}")
    finally:
        up.terminate()
        up.wait(40)
        up.stdout.close()
    return steps


def newcomer(run: Run) -> Iterator[Line]:
    """``pip install`` of the wheel, up, deploy, invoke; and the environment, which Debian demands first."""
    rounds = []
    with tempfile.TemporaryDirectory(prefix="forerun-bench-") as built:
        wheel = build_wheel(Path(built))
        for _ in run.rounds(2):
            with tempfile.TemporaryDirectory(prefix="forerun-bench-") as folder:
                rounds.append(steps_of(wheel, Path(folder)))
    names = list(rounds[0])
    note = ", ".join(f"{name} {min(each[name] for each in rounds):.1f}" for name in names)
    totals = [sum(each.values()) for each in rounds]
    # The promise is about the four commands; the environment is made by Debian's own tool.
    commanded = [total - each["venv"] for total, each in zip(totals, rounds, strict=True)]
    yield run.median("pip install, up, deploy, invoke", commanded, "s", 12, note=note)
    commands = float(len(names) - 1)
    yield run.line(
        "commands",
        commands,
        "",
        4,
        note="install, up, deploy, invoke; python -m venv before",
    )
    yield run.median("with python -m venv before", totals, "s")
