"""A program that speaks the Runtime API, and the host's side of it, for tests."""

import asyncio
import contextlib
import json
import os
import socket
import time

from forerun.aio.http import HttpServer
from forerun.model import Call
from forerun.sandbox.runtime_api import RuntimeApi


def make_call(event=None, *, request_id="req-1", seconds=10.0, payload=None, **members):
    return Call(
        request_id=request_id,
        payload=json.dumps(event).encode() if payload is None else payload,
        invoked_arn="arn:aws:lambda:eu-central-1:000000000000:function:fn",
        deadline_ms=int((time.time() + seconds) * 1000),
        **members,
    )


class Sink:
    """Keeps a streamed response; ``gate`` holds each write back until it is set."""

    def __init__(self):
        self.content_type = None
        self.chunks = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def start(self, content_type):
        self.content_type = content_type

    async def write(self, chunk):
        await self.gate.wait()
        self.chunks.append(chunk)

    @property
    def body(self):
        return b"".join(self.chunks)


@contextlib.asynccontextmanager
async def serving(**settings):
    """A RuntimeApi on a loopback port: yields the API and ``host:port``."""
    api = RuntimeApi(**settings)
    server = HttpServer(api)
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    await server.listen(sock)
    try:
        yield api, f"127.0.0.1:{sock.getsockname()[1]}"
    finally:
        await server.close(grace_s=0.2)


@contextlib.asynccontextmanager
async def running(*command, assignment=None, env=None, cwd=None):
    """A program that is ended afterwards; ``assignment`` is given on its descriptor 3."""
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *command,
        pass_fds=[3],
        preexec_fn=lambda: os.dup2(reading, 3),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": os.defpath, **(env or {})},
        cwd=cwd,
    )
    os.close(reading)
    if assignment is not None:
        os.write(writing, json.dumps(assignment).encode() + b"\n")
    try:
        yield process
    finally:
        os.close(writing)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
