"""Which requests any control plane answers by itself, and what clients hear when nobody can answer the others."""

import pytest

from forerun.api.reception import NoHolder, Reception, is_answered_here
from forerun.errors import StorageFailed

SUFFIX = b".lambda-url.us-home-1."
INVOKE = "/2015-03-31/functions/f/invocations"
STREAM = "/2021-11-15/functions/f/response-streaming-invocations"


def scope(path, method="POST", service="lambda", host=b"there", query=b""):
    signed = f"AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-home-1/{service}/aws4_request"
    headers = [(b"host", host)]
    if service:
        headers.append((b"authorization", signed.encode()))
    return {
        "method": method,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": headers,
        "client": ("192.0.2.1", 5),
    }


@pytest.mark.parametrize(
    ("asked", "here"),
    [
        pytest.param(scope(INVOKE), True, id="invoke"),
        pytest.param(scope(STREAM), True, id="stream"),
        pytest.param(scope("/lambda-url/abc/x", "GET", ""), True, id="function URL by path"),
        pytest.param(
            scope("/x", "PUT", "", b"abc.lambda-url.us-home-1.on.aws"),
            True,
            id="function URL by host",
        ),
        pytest.param(scope("/", service="sts"), True, id="sts"),
        pytest.param(scope("/forerun/cluster", "GET", "forerun"), True, id="cluster"),
        pytest.param(scope("/", service="iam"), False, id="iam"),
        pytest.param(scope("/", service="sqs"), False, id="sqs"),
        pytest.param(scope("/2015-03-31/functions/", "POST"), False, id="create function"),
        pytest.param(scope("/2015-03-31/functions/f", "GET"), False, id="get function"),
        pytest.param(scope(INVOKE, "GET"), False, id="no invocation"),
        pytest.param(scope(INVOKE, service="s3"), False, id="bucket of that name"),
        pytest.param(
            scope(INVOKE, service="", query=b"X-Amz-Credential=A%2F1%2Fr%2Fs3%2Faws4_request"),
            False,
            id="link to a bucket of that name",
        ),
        pytest.param(scope("/console/", "GET", ""), False, id="console"),
        pytest.param(scope("/forerun/status", "GET", "forerun"), False, id="status"),
    ],
)
def test_who_answers(asked, here):
    assert is_answered_here(asked, SUFFIX) is here


class Here:
    """What answers here."""

    def __init__(self):
        self.served, self.refused = [], []

    async def __call__(self, scope, receive, send):
        self.served.append(scope["raw_path"])

    async def refuse(self, scope, error, send):
        self.refused.append(error)
        await send({"type": "http.response.start", "status": error.status, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def asked(reception, of):
    messages = []

    async def send(message):
        messages.append(message)

    await reception(of, None, send)
    return messages


def waits_for(error):
    def ready():
        async def wait():
            raise error

        return wait()

    return ready


async def nobody(scope, receive, send):
    raise NoHolder("No control plane has the duties at the moment.")


async def test_without_a_holder_clients_are_told_when_to_come_again():
    here = Here()
    reception = Reception(here, nobody, region="us-home-1", ready=lambda: None)
    [start, _] = await asked(reception, scope("/", service="iam"))
    assert start["status"] == 503
    assert dict(start["headers"])[b"retry-after"].isdigit()
    assert here.refused[0].code == "ServiceUnavailable"
    [start, _] = await asked(reception, scope("/console/", "GET", ""))
    assert start["status"] == 503
    assert not here.served


async def test_nothing_is_answered_here_while_it_is_not_known_who_may():
    here = Here()
    away = StorageFailed("the database is away")
    reception = Reception(here, nobody, region="us-home-1", ready=waits_for(away))
    [start, _] = await asked(reception, scope(INVOKE))
    assert start["status"] == 503
    assert not here.served
    # Whoever balances loads learns that the process lives.
    await asked(reception, scope("/health", "GET", ""))
    assert here.served == [b"/health"]
