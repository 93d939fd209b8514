"""Peers that run Python: AWS's Runtime Interface Emulator, Functions Framework, and MiniStack."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
from botocore.config import Config
from client import Target
from peer import (
    CannotInstall,
    Peer,
    Running,
    first_good,
    free_port,
    install,
    one_call,
    process,
    whole_start,
)  # fmt: skip
from server import HELLO, package

RIE = "github.com/aws/aws-lambda-runtime-interface-emulator/cmd/aws-lambda-rie@latest"
COLD_FUNCTIONS = 40
GOOGLE = "import functions_framework\n\n@functions_framework.http\ndef handler(request):\n    return {'ok': True}\n"
KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}


def _pip(*packages: str):
    def installed(folder: Path) -> None:
        python = folder / "venv" / "bin" / "python"
        install(
            folder,
            [sys.executable, "-m", "venv", folder / "venv"],
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
        )

    return installed


def _install_rie(folder: Path) -> None:
    _pip("awslambdaric")(folder)
    if _rie(folder) is None:
        install(folder / "go", ["go", "install", RIE], env={"GOBIN": str(folder)})
    if _rie(folder) is None:
        raise CannotInstall("go install left no aws-lambda-rie")


def _rie(folder: Path) -> str | None:
    own = folder / "aws-lambda-rie"
    return str(own) if own.exists() else shutil.which("aws-lambda-rie")


@contextmanager
def _emulator(folder: Path) -> Iterator[Running]:
    (folder / "app.py").write_text(HELLO)

    def made(port: int, api: int) -> tuple[list[object], Target]:
        command = [_rie(folder), "--runtime-interface-emulator-address", f"127.0.0.1:{port}"]
        command += ["--runtime-api-address", f"127.0.0.1:{api}"]
        command += [folder / "venv" / "bin" / "python", "-m", "awslambdaric", "app.handler"]
        url = f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
        return command, Target(url, b"{}", b"true")

    command, warm = made(free_port(), free_port())
    with process(command, folder):
        first_good(warm)

        def cold(_: int) -> float:
            command, target = made(free_port(), free_port())
            return whole_start(command, folder, target)

        yield Running(warm, cold)


@contextmanager
def _functions_framework(folder: Path) -> Iterator[Running]:
    (folder / "main.py").write_text(GOOGLE)

    def made(port: int) -> tuple[list[object], Target]:
        command = [folder / "venv" / "bin" / "functions-framework", "--target", "handler"]
        command += ["--host", "127.0.0.1", "--port", port]
        headers = {"Content-Type": "application/json"}
        return command, Target(f"http://127.0.0.1:{port}/", b"{}", b"true", headers)

    command, warm = made(free_port())
    with process(command, folder):
        first_good(warm)

        def cold(_: int) -> float:
            command, target = made(free_port())
            return whole_start(command, folder, target)

        yield Running(warm, cold)


def _ministack_environment(folder: Path, port: int) -> dict[str, str]:
    data = folder / "data"
    data.mkdir(exist_ok=True)
    own = {"BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1", "GATEWAY_PORT": str(port)}
    return {**KEYS, **own, "TMPDIR": str(data), "SERVICES": "lambda,iam,sts,logs"}


@contextmanager
def _ministack(folder: Path) -> Iterator[Running]:
    port = free_port()
    with process(
        [folder / "venv" / "bin" / "ministack"], folder, _ministack_environment(folder, port)
    ):
        api = _client(port)
        names = ["warm", *(f"cold{number}" for number in range(COLD_FUNCTIONS))]
        for name in names:
            _create_when_up(api, name)
        targets = {
            name: Target(
                f"http://127.0.0.1:{port}/2015-03-31/functions/{name}/invocations", b"{}", b"true"
            ).signed({**KEYS, "AWS_REGION": "us-east-1"})
            for name in names
        }
        first_good(targets["warm"])
        yield Running(targets["warm"], lambda number: one_call(targets[f"cold{number}"]))


def _client(port: int):
    return boto3.client(
        "lambda",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 0}, read_timeout=60),
    )


def _create_when_up(api, name: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            api.create_function(
                FunctionName=name,
                Runtime="python3.11",
                Handler="app.handler",
                Role="arn:aws:iam::000000000000:role/bench",
                Code={"ZipFile": package("app.py", HELLO)},
                Timeout=30,
            )
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def ministack_from_nothing(folder: Path) -> dict[str, float]:
    """Seconds of: a new environment, ``pip install ministack``, up, create a function, the first answer."""
    steps: dict[str, float] = {}
    port, began = free_port(), time.perf_counter()

    def lap(name: str) -> None:
        nonlocal began
        steps[name], began = time.perf_counter() - began, time.perf_counter()

    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, timeout=60)
    lap("venv")
    pip = [folder / "venv" / "bin" / "pip", "install", "--quiet", "--no-cache-dir"]
    subprocess.run([*pip, "--disable-pip-version-check", "ministack"], check=True, timeout=180)
    lap("install")
    with process(
        [folder / "venv" / "bin" / "ministack"], folder, _ministack_environment(folder, port)
    ):
        _create_when_up(_client(port), "hello")
        lap("up and create")
        url = f"http://127.0.0.1:{port}/2015-03-31/functions/hello/invocations"
        one_call(Target(url, b"{}", b"true").signed({**KEYS, "AWS_REGION": "us-east-1"}))
        lap("invoke")
    return steps


PEERS = (
    Peer("AWS RIE and awslambdaric", "python", "none", _install_rie, _emulator, one_only=True),
    Peer(
        "Functions Framework python",
        "python",
        "none",
        _pip("functions-framework"),
        _functions_framework,
    ),
    Peer("MiniStack", "python", "none", _pip("ministack"), _ministack),
)
