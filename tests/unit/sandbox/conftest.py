import contextlib
import threading

import pytest
from tests.unit.sandbox.connection import API, Program
from tests.unit.sandbox.echo import Server
from tests.unit.sandbox.node_calls import BOOTSTRAP, NODE
from tests.unit.sandbox.program import running, serving

from forerun.model import InitReport
from forerun.runtime.assignment import environment_for


@pytest.fixture
def make_server():
    """Start echoing servers, plain or with a certificate; ended afterwards."""
    servers = []

    def make(context=None):
        server = Server(context)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        servers.append((server, thread))
        return server

    yield make
    for server, thread in servers:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.fixture
def server(make_server):
    return make_server()


@pytest.fixture
async def start_node(tmp_path):
    """Start Node on the source of a handler: gives the API and the process."""
    async with contextlib.AsyncExitStack() as stack:

        async def starter(source, *, name="index.js", user=None):
            (tmp_path / name).write_text(source)
            api, address = await stack.enter_async_context(serving())
            given = {
                "handler": "index.handler",
                "runtime": "nodejs20.x",
                "region": "eu-central-1",
                "function_name": "fn",
                "function_version": "7",
                "memory_mb": 256,
                "log_group": "/aws/lambda/fn",
                "log_stream": "stream",
                "task_root": str(tmp_path),
            }
            given["environment"] = environment_for(given, user or {}, runtime_api=address)
            await stack.enter_async_context(running(NODE, str(BOOTSTRAP), assignment=given))
            assert isinstance(await api.wait_init(20), InitReport)
            return api

        yield starter


@pytest.fixture
async def served():
    async with serving() as (api, address), Program(address) as program:
        yield api, program


@pytest.fixture
async def started(served):
    """An initialised program that waits for work."""
    api, program = served
    program.send("GET", API + "invocation/next")
    assert isinstance(await api.wait_init(5), InitReport)
    return api, program
