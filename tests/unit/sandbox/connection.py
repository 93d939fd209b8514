"""A program's connection to the Runtime API, by hand."""

import asyncio

import httptools

API = "/2018-06-01/runtime/"


class Answer:
    def __init__(self):
        self.status = 0
        self.headers = {}
        self.body = b""
        self.complete = False

    def on_header(self, name, value):
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, body):
        self.body += body

    def on_message_complete(self):
        self.complete = True


class Program:
    """One connection to the API."""

    def __init__(self, address):
        self.host, _, self.port = address.partition(":")

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection(self.host, int(self.port))
        return self

    async def __aexit__(self, *_):
        self.writer.close()

    def send(self, method, path, body=b"", **headers):
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def receive(self):
        answer = Answer()
        parser = httptools.HttpResponseParser(answer)
        while not answer.complete:
            data = await asyncio.wait_for(self.reader.read(65536), 10)
            assert data, "connection closed"
            parser.feed_data(data)
        answer.status = parser.get_status_code()
        return answer

    async def request(self, method, path, body=b"", **headers):
        self.send(method, path, body, **headers)
        return await self.receive()

    async def next(self):
        return await self.request("GET", API + "invocation/next")

    async def post(self, name, body=b"", **headers):
        return await self.request("POST", API + name, body, **headers)


async def submitted(api, program, call):
    """Give a call to a waiting program: the pending outcome and what the program got."""
    outcome = asyncio.ensure_future(api.submit(call))
    return outcome, await program.receive()
