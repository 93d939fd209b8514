"""What conformance tests share: error expectations and the venv of real AWS clients."""

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.servers import Server

CLIENTS = Path(__file__).parents[2] / ".venv-clients"


class Expected:
    """What a refused request answered."""

    message: str = ""
    body: dict[str, object]
    headers: dict[str, str]


@contextmanager
def _refused(code: str, status: int) -> Iterator[Expected]:
    expected = Expected()
    with pytest.raises(ClientError) as caught:
        yield expected
    response = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (
        code,
        status,
    ), response
    expected.message = response["Error"]["Message"]
    expected.body = response
    expected.headers = response["ResponseMetadata"]["HTTPHeaders"]


@pytest.fixture
def refused():
    """``with refused("ResourceNotFoundException", 404) as error: ...``"""
    return _refused


@pytest.fixture
def s3(server: Server) -> Any:
    """A client of S3."""
    return server.client("s3")


@pytest.fixture
def bucket(s3: Any) -> Iterator[str]:
    """A new bucket, which goes with all that is in it."""
    name = f"b-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    yield name
    while found := s3.list_objects_v2(Bucket=name).get("Contents", []):
        s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": each["Key"]} for each in found]})
    s3.delete_bucket(Bucket=name)


@dataclass
class Clients:
    """The venv of real AWS clients, pointed at the server as ``forerun env`` would point them."""

    root: Path
    server: Server
    home: Path

    def run(
        self, *command: str, cwd: Path | None = None, fails: bool = False, errors: bool = False
    ) -> str:
        """Run ``aws``, ``chalice`` or ``sam``; its stdout, and with ``fails`` or ``errors`` its stderr instead.

        Fails the test unless it ends as expected.
        """
        done = subprocess.run(
            [str(self.root / "bin" / command[0]), *command[1:]],
            cwd=cwd or self.home,
            env=self.server.environment(self.home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=50,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stderr if fails or errors else done.stdout

    def vendored(self, *names: str) -> dict[str, bytes]:
        """Installed modules and packages as files of a deployment package."""
        site = self.root / "lib" / "python3.11" / "site-packages"
        found: dict[str, bytes] = {}
        for name in names:
            paths = [*site.glob(f"{name}.*so"), *site.glob(f"{name}.py"), *(site / name).rglob("*")]
            for path in paths:
                if path.is_file() and path.suffix != ".pyc":
                    found[str(path.relative_to(site))] = path.read_bytes()
        assert found, names
        return found


@pytest.fixture
def clients(server: Server, tmp_path: Path) -> Clients:
    """The real clients; their venv is made by ``make clients``."""
    assert (CLIENTS / "bin" / "aws").exists(), "run `make clients` first"
    return Clients(CLIENTS, server, tmp_path)


@pytest.fixture
def sqs(server: Server) -> Any:
    return server.client("sqs")


@pytest.fixture
def queue(sqs) -> Iterator[str]:
    url = sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex[:12]}")["QueueUrl"]
    yield url
    sqs.delete_queue(QueueUrl=url)


@pytest.fixture
def ordered(sqs) -> Iterator[str]:
    name = f"q-{uuid.uuid4().hex[:12]}.fifo"
    url = sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"})["QueueUrl"]
    yield url
    sqs.delete_queue(QueueUrl=url)


@pytest.fixture
def events(server: Server) -> Any:
    return server.client("events")


@pytest.fixture
def bus(events: Any) -> Iterator[str]:
    """A bus of the test's own, emptied and deleted afterwards."""
    made = f"b-{uuid.uuid4().hex[:8]}"
    events.create_event_bus(Name=made, Tags=[{"Key": "a", "Value": "b"}])
    yield made
    for rule in events.list_rules(EventBusName=made)["Rules"]:
        held = events.list_targets_by_rule(Rule=rule["Name"], EventBusName=made)["Targets"]
        if held:
            ids = [each["Id"] for each in held]
            events.remove_targets(Rule=rule["Name"], EventBusName=made, Ids=ids)
        events.delete_rule(Name=rule["Name"], EventBusName=made)
    events.delete_event_bus(Name=made)


@pytest.fixture
def sns(server: Server) -> Any:
    return server.client("sns")


@pytest.fixture
def topic(sns: Any) -> Iterator[str]:
    arn = sns.create_topic(Name=f"t-{uuid.uuid4().hex[:8]}")["TopicArn"]
    yield str(arn)
    sns.delete_topic(TopicArn=arn)
