"""A real server for tests: ``forerun up`` in a process of its own, on a free loopback port, with a data directory of its own.

It is started through the installed command, spoken to through AWS clients and plain sockets only, and ended by its own
process id. ``eventually`` is how tests wait: for a condition, up to a deadline.
"""

import datetime
import http.client
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar
from unittest import mock

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.response import StreamingBody

FORERUN = Path(sys.executable).parent / "forerun"
ROLE = "arn:aws:iam::{account}:role/test"
READY = re.compile(r"^ready http://\S+", re.MULTILINE)
START_S = 30.0
STOP_S = 40.0
T = TypeVar("T")


def eventually(probe: Callable[[], T], *, within: float = 10.0, what: str = "") -> T:
    """The first truthy answer of ``probe``; fails the test when there is none in time."""
    deadline = time.monotonic() + within
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what or probe}; last: {answer!r}")
        time.sleep(0.02)


def package(files: Mapping[str, str | bytes], *, mode: int = 0o644) -> bytes:
    """A deployment package."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            info.external_attr = (0o100000 | mode) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return out.getvalue()


@dataclass
class Answer:
    """An HTTP answer read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """One running server and what its first key may do."""

    process: subprocess.Popen[bytes]
    data: Path
    endpoint: str
    region: str
    access_key: str
    secret_key: str
    mode: str
    _clients: dict[object, Any] = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        data: Path,
        *,
        mode: str | None = None,
        settings: Mapping[str, str] | None = None,
        listen: str = "127.0.0.1:0",
        elsewhere: Callable[[Sequence[str]], list[str]] = list,
    ) -> Self:
        """Start it and wait for its ready line; raises ``AssertionError`` with its output when none comes.

        ``elsewhere`` makes its command one that runs on another machine (``Host.command``).
        """
        mode = mode or ("jail" if os.geteuid() == 0 else "process")
        output = data.parent / f"{data.name}.{uuid.uuid4().hex[:6]}.log"
        command = [str(FORERUN), "up", "--listen", listen, "--data", str(data), "--sandbox", mode]
        with output.open("wb") as out:
            process = subprocess.Popen(
                elsewhere(command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=server_environment(data.parent) | dict(settings or {}),
                start_new_session=True,
            )
        try:
            eventually(
                lambda: process.poll() is not None or READY.search(output.read_text()),
                within=START_S,
                what="ready line",
            )
            assert process.poll() is None, f"exit {process.returncode}: {output.read_text()}"
            shown = subprocess.run(
                [str(FORERUN), "env", "--json", "--data", str(data)],
                capture_output=True,
                check=True,
                timeout=20,
                env=clean_environment(data.parent),
            )
            env = json.loads(shown.stdout)
        except BaseException:
            process.kill()
            process.wait(10)
            raise
        return cls(
            process=process,
            data=data,
            endpoint=env["AWS_ENDPOINT_URL"],
            region=env["AWS_REGION"],
            access_key=env["AWS_ACCESS_KEY_ID"],
            secret_key=env["AWS_SECRET_ACCESS_KEY"],
            mode=mode,
        )

    # Speaking to it

    def client(self, service: str, *, timeout: float = 30, **given: Any) -> Any:
        """A boto3 client that never retries; the same arguments give the same client."""
        key = (service, timeout, *sorted(given.items()))
        if key not in self._clients:
            arguments = {
                "aws_access_key_id": self.access_key,
                "aws_secret_access_key": self.secret_key,
                "region_name": self.region,
                "endpoint_url": self.endpoint,
            } | given
            config = Config(
                retries={"total_max_attempts": 1},
                read_timeout=timeout,
                connect_timeout=5,
                max_pool_connections=64,
                inject_host_prefix=False,
            )
            client = boto3.session.Session().client(service, config=config, **arguments)
            client.meta.events.register("after-call.lambda.Invoke", _read_payload)
            self._clients[key] = client
        return self._clients[key]

    @property
    def lambda_(self) -> Any:
        return self.client("lambda")

    @cached_property
    def account(self) -> str:
        return str(self.client("sts").get_caller_identity()["Account"])

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.endpoint.removeprefix("http://").rpartition(":")
        return host, int(port)

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """What a client in a process of its own needs: nothing of the user's, all of this server."""
        return (
            clean_environment(home)
            | {
                "AWS_ENDPOINT_URL": self.endpoint,
                "AWS_ACCESS_KEY_ID": self.access_key,
                "AWS_SECRET_ACCESS_KEY": self.secret_key,
                "AWS_DEFAULT_REGION": self.region,
                "AWS_REGION": self.region,
                "AWS_EC2_METADATA_DISABLED": "true",
                "AWS_PAGER": "",
                "SAM_CLI_TELEMETRY": "0",
            }
            | more
        )

    def signed(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        service: str = "lambda",
        region: str | None = None,
        keys: tuple[str, str] | None = None,
        skew_s: float = 0,
    ) -> dict[str, str]:
        """The headers of a signed request, ``skew_s`` seconds off the clock."""
        request = AWSRequest(method, self.endpoint + path, data=body, headers=dict(headers or {}))
        request.headers["Host"] = "{}:{}".format(*self.address)
        moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=skew_s)
        credentials = Credentials(*(keys or (self.access_key, self.secret_key)))
        with mock.patch("botocore.auth.get_current_datetime", return_value=moment):
            SigV4Auth(credentials, service, region or self.region).add_auth(request)
        return dict(request.headers.items())

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One plain request, as given."""
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            shown = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, shown, response.read())
        finally:
            connection.close()

    def platform(self, path: str) -> Any:
        """A signed GET of the platform's own JSON pages."""
        answer = self.request("GET", path, headers=self.signed("GET", path, service="forerun"))
        assert answer.status == 200, answer
        return answer.json()

    def invocations(self, name: str, limit: int = 100) -> list[dict[str, Any]]:
        """The records of a function, written behind the answers: ask with ``eventually``."""
        page = self.platform(f"/forerun/invocations?FunctionName={name}&MaxItems={limit}")
        return list(page["Invocations"])

    def sandboxes(self) -> list[dict[str, Any]]:
        return list(self.platform("/forerun/sandboxes")["Sandboxes"])

    def await_busy(self, *calls: Future[Any]) -> None:
        """Wait until as many sandboxes are busy as there are ``calls``; raises what a call that ended early raised."""

        def busy() -> bool:
            for call in calls:
                if call.done():
                    raise AssertionError(f"it ended before it was seen to run: {call.result()!r}")
            return [each["state"] for each in self.sandboxes()].count("busy") >= len(calls)

        eventually(busy, what=f"{len(calls)} busy sandboxes")

    # Functions

    def function(
        self,
        source: str | Mapping[str, str | bytes] | bytes,
        *,
        name: str | None = None,
        runtime: str = "python3.11",
        handler: str = "lambda_function.handler",
        **more: Any,
    ) -> str:
        """Create a function and wait until it is active; the name is new unless given."""
        name = name or f"f-{uuid.uuid4().hex[:12]}"
        if isinstance(source, str):
            source = {f"{handler.split('.', maxsplit=1)[0]}.py": source}
        code = source if isinstance(source, bytes) else package(source)
        self.lambda_.create_function(
            FunctionName=name,
            Runtime=runtime,
            Handler=handler,
            Role=ROLE.format(account=self.account),
            Code={"ZipFile": code},
            **more,
        )
        waiter = self.lambda_.get_waiter("function_active_v2")
        waiter.wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
        return name

    def call(self, name: str, payload: object = None, **more: Any) -> Any:
        """Invoke and read the result; fails the test when the function failed."""
        reply = self.lambda_.invoke(FunctionName=name, Payload=json.dumps(payload), **more)
        body = reply["Payload"].read()
        assert "FunctionError" not in reply, body
        return json.loads(body)

    def failure(self, name: str, payload: object = None, **more: Any) -> dict[str, Any]:
        """Invoke a function that shall fail; the error document."""
        reply = self.lambda_.invoke(FunctionName=name, Payload=json.dumps(payload), **more)
        body = reply["Payload"].read()
        assert reply["StatusCode"] == 200
        assert reply.get("FunctionError") == "Unhandled", body
        return dict(json.loads(body))

    # Its end

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait; its exit code."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise AssertionError("the server did not stop in time") from None


def server_environment(home: Path) -> dict[str, str]:
    """As ``clean_environment``, but the home where further interpreters may be installed."""
    return clean_environment(home) | {"HOME": os.environ.get("HOME", str(home))}


def _read_payload(parsed: dict[str, Any], **_: object) -> None:
    """Read payloads at once, so that tests which do not look at them leave no connection open."""
    if "Payload" in parsed:
        content = parsed["Payload"].read()
        parsed["Payload"] = StreamingBody(io.BytesIO(content), len(content))


def clean_environment(home: Path) -> dict[str, str]:
    """An environment that holds nothing of the user's configuration."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "AWS_CONFIG_FILE": str(home / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "no-credentials"),
    }


@contextmanager
def running(data: Path, **given: Any) -> Iterator[Server]:
    """A server for the length of a block, ended whatever happens in it."""
    server = Server.start(data, **given)
    try:
        yield server
    finally:
        server.stop()


def descendants(pid: int) -> set[int]:
    """All processes below ``pid``."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found.add(child)
            waiting.append(child)
    return found


def gone(pids: Sequence[int] | set[int]) -> bool:
    """Whether none of the processes runs any more; one that only waits to be reaped does not run."""
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            return False
    return True
