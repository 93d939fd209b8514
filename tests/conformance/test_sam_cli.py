"""The SAM CLI, unmodified: ``sam remote invoke`` of a function by its ARN."""

import json

import pytest
from tests.servers import Server

pytestmark = [pytest.mark.conformance, pytest.mark.slow]


def arn(server: Server, name: str) -> str:
    return str(server.lambda_.get_function_configuration(FunctionName=name)["FunctionArn"])


def test_remote_invoke(server: Server, clients):
    name = server.function("def handler(event, context):\n    print('seen')\n    return event\n")
    shown = clients.run("sam", "remote", "invoke", arn(server, name), "--event", '{"a": [1]}')
    assert json.loads(shown) == {"a": [1]}


def test_remote_invoke_of_a_failing_function(server: Server, clients):
    name = server.function("def handler(event, context):\n    raise ValueError('out of salt')\n")
    shown = clients.run("sam", "remote", "invoke", arn(server, name), errors=True)
    assert "[ERROR] ValueError: out of salt" in shown, "the tail of the log"


def test_remote_invoke_as_event(server: Server, clients):
    name = server.function("def handler(event, context):\n    return 1\n")
    shown = clients.run(
        "sam", "remote", "invoke", arn(server, name),
        "--parameter", "InvocationType=Event", "--output", "json",
    )  # fmt: skip
    assert json.loads(shown)["StatusCode"] == 202
