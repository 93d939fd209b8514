"""Functions that count their runs in a file, and how tests call them with execution ids: what the platform says is held to that."""

import json
from pathlib import Path
from typing import Any

from tests.servers import Answer, Server

# A line for each run; the directory is one that sandboxes of this server share with it.
CODE = """
import json, os, time

def handler(event, context):
    with open(os.environ["COUNTER"], "a") as counter:
        counter.write(context.aws_request_id + "\\n")
    time.sleep(float(event.get("sleep", 0)))
    if event.get("fail") and not os.path.exists(event["fail"]):
        raise ValueError("as asked")
    return {"request": context.aws_request_id, "bytes": "x" * event.get("bytes", 0)}
"""


def runs(counter: Path) -> int:
    return len(counter.read_text().splitlines())


def make(server: Server, counter: Path, **more: Any) -> str:
    return server.function(
        CODE, Timeout=20, Environment={"Variables": {"COUNTER": str(counter)}}, **more
    )


def invoke(
    server: Server, name: str, event: object = None, named: str | None = None, kind: str = ""
) -> Answer:
    path = f"/2015-03-31/functions/{name}/invocations"
    headers = {"X-Forerun-Execution-Id": named} if named is not None else {}
    if kind:
        headers["X-Amz-Invocation-Type"] = kind
    body = json.dumps({} if event is None else event).encode()
    return server.request("POST", path, body, server.signed("POST", path, body, headers=headers))


def post(server: Server, name: str, **body: Any) -> Answer:
    content = json.dumps(body).encode()
    path = f"/forerun/{name}"
    return server.request(
        "POST", path, content, server.signed("POST", path, content, service="forerun")
    )


def put(server: Server, name: str, **wish: Any) -> dict[str, Any]:
    answer = post(server, "put-once", FunctionName=name, **wish)
    assert answer.status == 200, answer
    return dict(answer.json()["Once"])


def executed(answer: Answer) -> str | None:
    assert answer.status == 200, answer
    return answer.headers.get("x-forerun-executed")
