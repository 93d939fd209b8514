"""Who gets through the console's door, and who does not: plain HTTP against a real server."""

import http.client
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers import FORERUN, Answer, Server, clean_environment, eventually, running

pytestmark = pytest.mark.slow

ECHO = "def handler(event, context):\n    print('got', event)\n    return event\n"
CHANGING = {"x-forerun-console": "1", "content-type": "application/json"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("door") / "data") as server:
        server.function(ECHO, name="echo")
        server.call("echo", 1)
        yield server


def signed_link(server: Server, keys: tuple[str, str] | None = None) -> Answer:
    path = "/forerun/console-link"
    headers = server.signed("GET", path, service="forerun", keys=keys)
    return server.request("GET", path, headers=headers)


def enter(server: Server, keys: tuple[str, str] | None = None) -> str:
    """The cookie of a new session."""
    answer = signed_link(server, keys)
    assert answer.status == 200, answer
    entered = server.request("GET", answer.json()["Path"])
    assert entered.status == 200
    return entered.headers["set-cookie"].partition(";")[0]


def ask(server: Server, cookie: str, path: str) -> Answer:
    return server.request("GET", f"/console/api/{path}", headers={"cookie": cookie})


def change(server: Server, cookie: str, path: str, body: object, **more: str) -> Answer:
    headers = {"cookie": cookie} | CHANGING | more
    return server.request("POST", f"/console/api/{path}", json.dumps(body).encode(), headers)


def limited(server: Server, name: str, *actions: str) -> tuple[str, str]:
    """The keys of a user who may do these."""
    iam = server.client("iam")
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


@pytest.mark.parametrize("cookie", ["", "forerun_console=", "forerun_console=abc", "=;;=;", "\xff"])
def test_without_a_session_nothing_is_told(shop: Server, cookie: str):
    for path in ("me", "functions", "platform/status", "pulse", "tail", "nothing"):
        answer = ask(shop, cookie, path)
        assert answer.status == 401
        assert "forerun console" in answer.json()["message"]


def test_the_link_must_be_signed_for(shop: Server):
    assert shop.request("GET", "/forerun/console-link").status in (400, 403)
    keys = limited(shop, "nobody", "lambda:ListFunctions")
    assert signed_link(shop, keys).status == 403


def test_a_session_may_do_what_its_principal_may(shop: Server):
    keys = limited(shop, "reader", "forerun:GetConsoleLink", "lambda:ListFunctions")
    cookie = enter(shop, keys)
    assert ask(shop, cookie, "me").json()["principal"].endswith("user/reader")
    assert "echo" in [each["name"] for each in ask(shop, cookie, "functions").json()["functions"]]
    for path in (
        "function?name=echo",
        "platform/status",
        "platform/invocations",
        "pulse",
        "tail",
        "logs?name=echo",
    ):
        answer = ask(shop, cookie, path)
        assert answer.status == 403, path
        assert "not authorized" in answer.json()["message"]
    refused = change(shop, cookie, "set-monitoring", {"name": "echo", "value": "off"})
    assert refused.status == 403


def test_a_session_ends_with_its_key(shop: Server):
    keys = limited(shop, "leaver", "forerun:*")
    cookie = enter(shop, keys)
    assert ask(shop, cookie, "me").status == 200
    shop.client("iam").update_access_key(UserName="leaver", AccessKeyId=keys[0], Status="Inactive")
    eventually(lambda: ask(shop, cookie, "me").status == 401)


def test_another_account_sees_its_own_only(shop: Server, tmp_path: Path):
    made = subprocess.run(
        [FORERUN, "account", "create", "other", "--json", "--data", str(shop.data)],
        capture_output=True,
        check=True,
        timeout=20,
        env=clean_environment(tmp_path),
    )
    account = json.loads(made.stdout)
    keys = (account["access_key_id"], account["secret_access_key"])
    cookie = eventually(lambda: signed_link(shop, keys).status == 200 and enter(shop, keys))
    assert ask(shop, cookie, "functions").json() == {"functions": []}
    assert ask(shop, cookie, "function?name=echo").status == 404
    assert ask(shop, cookie, "logs?name=echo&start=1").json()["events"] == []
    assert ask(shop, cookie, "platform/invocations").json()["Invocations"] == []
    mine = enter(shop)
    eventually(lambda: ask(shop, mine, "logs?name=echo&start=1").json()["events"])


@pytest.mark.parametrize(
    "without",
    [
        {"x-forerun-console": None},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "none"},
        {"origin": "http://elsewhere.example"},
        {"origin": "null"},
    ],
    ids=["no-header", "cross-site", "typed", "other-origin", "no-origin"],
)
def test_other_sites_change_nothing(shop: Server, without: dict[str, str | None]):
    headers = {"cookie": enter(shop)} | CHANGING | without
    body = json.dumps({"name": "echo", "value": "off"}).encode()
    given = {name: value for name, value in headers.items() if value is not None}
    answer = shop.request("POST", "/console/api/set-monitoring", body, given)
    assert answer.status == 403
    wish = b'{"Name": "kept"}'
    assert shop.request("POST", "/console/api/platform/put-metaevent", wish, given).status == 403
    arn = shop.lambda_.get_function(FunctionName="echo")["Configuration"]["FunctionArn"]
    assert "forerun:monitoring" not in shop.lambda_.list_tags(Resource=arn)["Tags"]


def test_a_page_may_have_the_platform_do_little(shop: Server):
    """What pages need, in the name of whoever looks; everything else takes a signature."""
    rule = {"Name": "kept", "When": {"event": "execution.throttled"}, "Job": "echo"}
    mine = {"origin": shop.endpoint}
    cookie = enter(shop)
    made = change(shop, cookie, "platform/put-metaevent", rule, **mine)
    assert made.status == 200, made
    names = ask(shop, cookie, "platform/metaevents").json()["Metaevents"]
    assert [each["Name"] for each in names] == ["kept"]
    for command in (
        *("put-folder", "put-hook", "rotate-hook", "create-join-token", "status"),
        *("delete-metaevent/", ""),
    ):
        assert change(shop, cookie, f"platform/{command}", {"Name": "kept"}).status == 404

    reader = enter(shop, limited(shop, "watcher", "forerun:Get*"))
    assert ask(shop, reader, "platform/metaevents").status == 200
    refused = change(shop, reader, "platform/delete-metaevent", {"Name": "kept"})
    assert refused.status == 403
    assert "forerun:DeleteMetaevent" in refused.json()["message"]
    assert change(shop, cookie, "platform/delete-metaevent", {"Name": "kept"}).status == 200
    assert ask(shop, cookie, "platform/metaevent?Name=kept").status == 404


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("set-monitoring", {"name": "echo", "value": "perhaps"}, "forerun:monitoring"),
        ("set-monitoring", {"name": "echo", "value": 7}, "must be texts"),
        ("set-monitoring", [], "JSON object"),
        ("set-monitoring", {"name": "echo", "value": "x" * 70_000}, "at most 65536 bytes"),
        ("set-monitoring", {"name": "absent", "value": "on"}, "absent"),
        ("nothing", {}, "nothing"),
        ("platform/redrive-dead-letters", {}, "Give Ids"),
        ("platform/redrive-dead-letters", {"All": "yes"}, "All must be"),
    ],
    ids=["value", "type", "list", "size", "absent", "path", "letters", "all"],
)
def test_bad_input_is_named(shop: Server, path: str, body: object, says: str):
    answer = change(shop, enter(shop), path, body)
    assert 400 <= answer.status < 500
    assert says in answer.json()["message"]


@pytest.mark.parametrize(
    "path",
    [
        "logs?name=echo&start=x",
        "logs?name=echo&start=nan",
        "logs?name=echo&filter=%5Ba%5D",
        "logs?name=echo&after=z",
        "function",
        "function?name=../x",
        "platform/nothing",
        "platform/console-link",
        "x/%00",
    ],
)
def test_bad_questions_are_answered(shop: Server, path: str):
    answer = ask(shop, enter(shop), path)
    assert 400 <= answer.status < 500
    assert answer.json()["message"]


def test_the_cookie_is_for_this_server_alone(shop: Server):
    path = signed_link(shop).json()["Path"]
    answer = shop.request("GET", path, headers={"x-forwarded-proto": "https"})
    cookie = answer.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=Strict", "Path=/console", "Secure", "Max-Age=43200"):
        assert part in cookie
    assert "no-store" in answer.headers["cache-control"]
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_looking_at_a_link_does_not_use_it_up(shop: Server):
    path = signed_link(shop).json()["Path"]
    assert shop.request("HEAD", path).status == 405
    assert shop.request("GET", path).status == 200
    assert shop.request("GET", path).status == 401


def test_events_come_as_they_happen(shop: Server):
    connection = http.client.HTTPConnection(*shop.address, timeout=20)
    try:
        connection.request("GET", "/console/api/tail", headers={"cookie": enter(shop)})
        response = connection.getresponse()
        assert response.getheader("content-type") == "text/event-stream"
        assert response.readline() == b":\n"
        shop.call("echo", "now")
        line = b""
        while not line.startswith(b"data: "):
            line = response.readline()
        events = json.loads(line[6:])
        assert any(each["what"] == "log" and "got now" in each["text"] for each in events)
        assert "echo" in [each["name"] for each in events if each["what"] == "call"]
    finally:
        connection.close()


def test_a_function_url_keeps_its_paths(shop: Server):
    """A function's own host may have a path that begins like the console's."""
    name = shop.function("def handler(e, c):\n    return e['rawPath']\n")
    url = shop.lambda_.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
    shop.lambda_.add_permission(
        FunctionName=name,
        StatementId="all",
        Action="lambda:InvokeFunctionUrl",
        Principal="*",
        FunctionUrlAuthType="NONE",
    )
    url_id = url.rstrip("/").rpartition("/")[2]
    host = f"{url_id}.lambda-url.{shop.region}.localhost"
    answer = shop.request("GET", "/console/x", headers={"host": host})
    assert answer.body == b'"/console/x"'
    assert shop.request("GET", "/consoles").status >= 400


def test_open_pages_do_not_hold_up_the_end(tmp_path_factory: pytest.TempPathFactory):
    with running(tmp_path_factory.mktemp("end") / "data") as server:
        connection = http.client.HTTPConnection(*server.address, timeout=20)
        connection.request("GET", "/console/api/tail", headers={"cookie": enter(server)})
        response = connection.getresponse()
        response.readline()
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 8
        connection.close()
