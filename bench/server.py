"""A Forerun server for measurements: its own data directory, a free port, stopped by its own pid."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import boto3
from botocore.config import Config
from client import Target

COMMAND = Path(sys.executable).parent / "forerun"
HELLO = "def handler(event, context):\n    return {'ok': True}\n"
HELLO_NODE = "exports.handler = async () => ({ ok: true });\n"


def package(name: str, source: str) -> bytes:
    """A zip with one file; equal for equal input."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), source)
    return out.getvalue()


class Server:
    """A running server; use as a context manager. ``settings`` become ``FORERUN_*`` variables."""

    def __init__(self, *, sandbox: str = "auto", **settings: object) -> None:
        self.sandbox = sandbox
        self.settings = {f"FORERUN_{name.upper()}": str(value) for name, value in settings.items()}
        self.ready_s = 0.0
        self._listen = "127.0.0.1:0"

    def __enter__(self) -> "Server":
        self._folder = tempfile.TemporaryDirectory(prefix="forerun-bench-")
        self.data = Path(self._folder.name) / "data"
        try:
            self.start()
        except subprocess.CalledProcessError:
            # It runs, and nobody would end it.
            self.__exit__()
            raise
        return self

    def start(self) -> None:
        """Start it on its data directory, which lasts until the context ends; ``ready_s`` tells how long it took.

        What was stopped or killed is started again at the address that it had.
        """
        began = time.perf_counter()
        self._log = (Path(self._folder.name) / "server.log").open("a+")
        self.process = subprocess.Popen(
            [
                COMMAND,
                "up",
                "--listen",
                self._listen,
                "--data",
                str(self.data),
                "--sandbox",
                self.sandbox,
            ],
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **self.settings},
            text=True,
        )
        line = self.process.stdout.readline()
        self.ready_s = time.perf_counter() - began
        if "http://" not in line:
            log = self._read_log()
            self.__exit__()
            raise RuntimeError(f"the server did not start: {line}{log}")
        text = subprocess.check_output(
            [COMMAND, "env", "--json", "--data", str(self.data)], text=True
        )
        self.environment = json.loads(text)
        self.endpoint = self.environment["AWS_ENDPOINT_URL"]
        self._listen = self.endpoint.removeprefix("http://")
        self.account = json.loads((self.data / "credentials.json").read_text())["account"]
        self.role = f"arn:aws:iam::{self.account}:role/bench"

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._folder.cleanup()

    def stop(self) -> None:
        """End the process and wait for it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self._log.close()

    def kill(self) -> None:
        """End it as a loss of power would: it learns nothing of it."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self._log.close()

    def _read_log(self) -> str:
        self._log.flush()
        self._log.seek(0)
        return self._log.read()[-2000:]

    def api(self, service: str = "lambda"):
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=self.environment["AWS_REGION"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"max_attempts": 0}, read_timeout=120),
        )

    def create(
        self, name: str, source: str = HELLO, *, runtime: str = "", **options: object
    ) -> Target:
        """Create a function and give the signed request that invokes it."""
        node = runtime.startswith("nodejs")
        file = "index.js" if node else "app.py"
        self.api().create_function(
            FunctionName=name,
            Runtime=runtime or f"python3.{sys.version_info.minor}",
            Handler="index.handler" if node else "app.handler",
            Role=self.role,
            Code={"ZipFile": options.pop("zip", None) or package(file, source)},
            **options,
        )
        return self.target(name)

    def target(self, name: str, qualifier: str = "", **headers: str) -> Target:
        query = f"?Qualifier={qualifier}" if qualifier else ""
        url = f"{self.endpoint}/2015-03-31/functions/{name}/invocations{query}"
        given = {key.replace("_", "-"): value for key, value in headers.items()}
        return Target(url, b"{}", b"", given).signed(self.environment)

    def status(self) -> dict:
        """The platform's own account of itself (``GET /forerun/status``)."""
        return self.ask("/forerun/status")

    def ask(self, path: str) -> dict | None:
        """One of the platform's own pages; ``None`` where there is nothing."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        request = AWSRequest("GET", f"{self.endpoint}{path}")
        keys = Credentials(
            self.environment["AWS_ACCESS_KEY_ID"], self.environment["AWS_SECRET_ACCESS_KEY"]
        )
        SigV4Auth(keys, "forerun", self.environment["AWS_REGION"]).add_auth(request)
        made = urllib.request.Request(request.url, headers=dict(request.headers.items()))
        try:
            with urllib.request.urlopen(made, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def wait_for_pool(self, runtime: str, timeout: float = 30.0) -> int:
        """Until as many unassigned sandboxes of a runtime wait as the platform wants; how many that are."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            status = self.status()
            size, moving = status["pool"].get(runtime, 0), status["sandboxes"]
            # A runtime without a target is not held ready yet.
            if (
                size >= status["pool_target"].get(runtime, 1)
                and not moving["creating"] + moving["dying"]
            ):
                return size
            time.sleep(0.02)
        raise RuntimeError(f"the warming pool of {runtime} was not full in time: {self.status()}")


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                found.setdefault(parent, []).append(int(entry.name))
    return found


def children(pid: int) -> list[int]:
    """The processes a process started itself."""
    return _children().get(pid, [])


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    known = _children()
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += known.get(found[-1], [])
    return found


def pss_mb(pid: int) -> float:
    """Proportional set size of one process, MiB."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0
