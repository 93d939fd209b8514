"""The AWS CLI, unmodified: the way of a function from its zip file to its log lines."""

import json
import uuid
from pathlib import Path

import pytest
from tests.servers import ROLE, Server, eventually, package

pytestmark = [pytest.mark.conformance, pytest.mark.slow]


def saying(path: Path, text: str) -> str:
    code = f"def handler(event, context):\n    print('log of {text}')\n    return '{text}'\n"
    path.write_bytes(package({"lambda_function.py": code}))
    return f"fileb://{path}"


def test_way_of_a_function(server: Server, clients, tmp_path: Path):
    name = f"cli-{uuid.uuid4().hex[:8]}"
    out = tmp_path / "out.json"

    def aws(*command: str) -> object:
        text = clients.run("aws", *command, "--output", "json")
        return json.loads(text) if text.strip() else None

    made = aws(
        "lambda", "create-function",
        "--function-name", name,
        "--runtime", "python3.11",
        "--handler", "lambda_function.handler",
        "--role", ROLE.format(account=server.account),
        "--zip-file", saying(tmp_path / "one.zip", "one"),
    )  # fmt: skip
    assert made["FunctionName"] == name
    clients.run("aws", "lambda", "wait", "function-active-v2", "--function-name", name)
    reply = aws("lambda", "invoke", "--function-name", name, "--log-type", "Tail", str(out))
    assert reply["StatusCode"] == 200
    assert reply["LogResult"]
    assert json.loads(out.read_text()) == "one"

    new = saying(tmp_path / "two.zip", "two")
    updated = aws(
        "lambda", "update-function-code", "--function-name", name, "--zip-file", new, "--publish"
    )
    assert updated["Version"] == "1"
    clients.run("aws", "lambda", "wait", "function-updated-v2", "--function-name", name)
    clients.run(
        "aws", "lambda", "wait", "published-version-active", "--function-name", name,
        "--qualifier", "1",
    )  # fmt: skip
    aws("lambda", "invoke", "--function-name", f"{name}:1", str(out))
    assert json.loads(out.read_text()) == "two"

    url = aws(
        "lambda", "create-function-url-config", "--function-name", name, "--auth-type", "NONE"
    )
    aws(
        "lambda", "add-permission", "--function-name", name, "--statement-id", "open",
        "--action", "lambda:InvokeFunctionUrl", "--principal", "*",
        "--function-url-auth-type", "NONE",
    )  # fmt: skip
    answer = server.request("GET", url["FunctionUrl"].removeprefix(server.endpoint))
    assert (answer.status, answer.body) == (200, b'"two"')

    def lines() -> bool:
        found = aws(
            "logs", "filter-log-events", "--log-group-name", f"/aws/lambda/{name}",
            "--filter-pattern", '"log of two"',
        )  # fmt: skip
        return len(found["events"]) == 2

    eventually(lines, within=15)
    clients.run("aws", "lambda", "delete-function", "--function-name", name)
    error = clients.run("aws", "lambda", "get-function", "--function-name", name, fails=True)
    assert "ResourceNotFoundException" in error


def test_identity_and_listing(server: Server, clients):
    who = json.loads(clients.run("aws", "sts", "get-caller-identity"))
    assert who["Account"] == server.account
    assert "Functions" in json.loads(clients.run("aws", "lambda", "list-functions"))


def test_services_that_are_not_served(clients):
    error = clients.run("aws", "dynamodb", "list-tables", fails=True)
    assert "An error occurred (" in error
