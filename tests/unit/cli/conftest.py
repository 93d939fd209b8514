import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner
from tests.fakes.aws import ACCOUNT, REGION, FakeAws

from forerun.cli import connection, main


@pytest.fixture
def aws(monkeypatch):
    """An account in memory that every botocore client of the command line talks to."""
    account = FakeAws()
    monkeypatch.setattr(
        connection.Connection, "client", lambda self, name, **_: account.client(name)
    )
    return account


@pytest.fixture
def data_dir(tmp_path):
    """A data directory as a server leaves it."""
    directory = tmp_path / "data"
    directory.mkdir()
    (directory / "credentials.json").write_text(
        json.dumps(
            {
                "endpoint": "http://127.0.0.1:1",
                "access_key_id": "AKIAAAAAAAAAAAAAAAAA",
                "secret_access_key": "it's secret",
                "region": REGION,
                "account": ACCOUNT,
            }
        )
    )
    return directory


@pytest.fixture
def forerun(data_dir):
    """Run a command line; the result has ``exit_code``, ``stdout`` and ``stderr``."""

    def run(*arguments, input=None, data=True):
        given = [*arguments, "--data", str(data_dir)] if data else list(arguments)
        return CliRunner().invoke(main, given, input=input, catch_exceptions=True)

    return run


class HttpAnswers(dict):
    """Answers by path and query; every request is kept in ``requests``."""

    endpoint = ""

    def __init__(self):
        super().__init__()
        self.requests = []


@pytest.fixture
def http_answers():
    """A server on the loopback that gives prepared answers."""
    answers = HttpAnswers()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answers.requests.append(self)
            status, body = answers.get(self.path, (404, b"{}"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        answers.endpoint = f"http://127.0.0.1:{server.server_port}"
        yield answers
        server.shutdown()
        thread.join(timeout=10)
