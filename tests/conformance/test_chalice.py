"""Chalice, unmodified: an application of plain functions is deployed, called, read and deleted."""

import json
import uuid
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from tests.servers import Server, eventually

pytestmark = [pytest.mark.conformance, pytest.mark.slow]

APP = """
from chalice import Chalice

app = Chalice(app_name="APPNAME")

@app.lambda_function()
def total(event, context):
    print("adding", len(event["prices"]), "prices")
    return {"total": sum(event["prices"]), "by": context.function_name}
"""


def test_life_of_an_application(server: Server, clients, tmp_path: Path):
    name = f"shop{uuid.uuid4().hex[:6]}"
    project = tmp_path / name
    (project / ".chalice").mkdir(parents=True)
    (project / "app.py").write_text(APP.replace("APPNAME", name))
    (project / "requirements.txt").write_text("")
    config = {"version": "2.0", "app_name": name, "stages": {"dev": {}}}
    (project / ".chalice" / "config.json").write_text(json.dumps(config))

    def chalice(*command: str) -> str:
        return str(clients.run("chalice", *command, cwd=project))

    shown = chalice("deploy")
    assert f"function:{name}-dev-total" in shown
    event = project / "event.json"
    event.write_text('{"prices": [3, 4]}')
    result = clients.run(
        "aws", "lambda", "invoke", "--function-name", f"{name}-dev-total",
        "--payload", event.read_text(), str(project / "out.json"),
    )  # fmt: skip
    assert json.loads(result)["StatusCode"] == 200
    wanted = {"total": 7, "by": f"{name}-dev-total"}
    assert json.loads((project / "out.json").read_text()) == wanted

    eventually(lambda: "adding 2 prices" in chalice("logs", "-n", "total"), within=15)
    assert "adding" in (project / "app.py").read_text()
    (project / "app.py").write_text(
        APP.replace("APPNAME", name).replace('sum(event["prices"])', "max([1])")
    )
    chalice("deploy")
    assert server.call(f"{name}-dev-total", {"prices": []})["total"] == 1

    chalice("delete")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        server.lambda_.get_function(FunctionName=f"{name}-dev-total")
    with pytest.raises(ClientError, match="NoSuchEntity"):
        server.client("iam").get_role(RoleName=f"{name}-dev")


def test_invoke_of_chalice(server: Server, clients, tmp_path: Path):
    """``chalice invoke`` reads the event from stdin; without one the event is empty."""
    name = f"echo{uuid.uuid4().hex[:6]}"
    project = tmp_path / name
    (project / ".chalice").mkdir(parents=True)
    source = (
        f"from chalice import Chalice\napp = Chalice(app_name='{name}')\n"
        "@app.lambda_function()\ndef hello(event, context):\n    return ['hello', event]\n"
    )
    (project / "app.py").write_text(source)
    (project / "requirements.txt").write_text("")
    (project / ".chalice" / "config.json").write_text(
        json.dumps({"version": "2.0", "app_name": name, "stages": {"dev": {}}})
    )
    clients.run("chalice", "deploy", cwd=project)
    assert json.loads(clients.run("chalice", "invoke", "-n", "hello", cwd=project)) == ["hello", {}]
    clients.run("chalice", "delete", cwd=project)
