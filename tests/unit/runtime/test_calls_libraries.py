"""Calls by libraries that stand on ``http.client``: urllib3, requests and the AWS SDK."""

from pathlib import Path

import msgspec
import pytest
from tests.unit.runtime.web import carried_by, certificate, served

LIBRARIES = [str(Path(msgspec.__file__).parents[1])]
REQUESTS = {
    "urllib3": """
        import urllib3
        pool = urllib3.PoolManager(ca_certs={trust!r})
        def fetch(url, **options):
            return pool.request("POST", url, **options).data.decode()
    """,
    "requests": """
        import requests
        session = requests.Session()
        session.verify = {trust!r}
        def fetch(url, body, **options):
            return session.post(url, data=body, **options).text
    """,
}


@pytest.fixture
def library(start):
    """A function with the libraries of this environment."""

    def starter(source, **options):
        driver = start(source, library_paths=LIBRARIES, **options)
        report = driver.inited()
        assert "error" not in report, report
        return driver

    return starter


@pytest.fixture(params=REQUESTS)
def posting(request, library):
    pytest.importorskip(request.param)

    def starter(trust=""):
        return library(
            REQUESTS[request.param].format(trust=trust)
            + """
        def handler(event, context):
            return [fetch(url, body=body.encode()) for url, body in event]
    """
        )

    return starter


def test_libraries_on_top(posting, web):
    driver = posting()
    url = f"http://localhost:{web.port}/a"
    answer, calls = driver.monitored([(url, "one"), (url, "two"), (url, "one")])
    assert answer == ["0123456789"] * 3
    assert [(call.sent_bytes, call.received_bytes, call.status) for call in calls] == [
        (3, 10, 200)
    ] * 3
    assert [call.fingerprint == calls[0].fingerprint for call in calls] == [True, False, True]
    assert web.carried == [carried_by(call) for call in calls]


def test_libraries_on_top_by_tls(posting, tmp_path):
    context, trust = certificate(tmp_path)
    with served(context) as web:
        url = f"https://localhost:{web.port}/a"
        driver = posting(trust)
        answer, calls = driver.monitored([(url, "one"), (url, "two")])
        assert answer == ["0123456789"] * 2
        assert [(call.kind, call.status) for call in calls] == [("http", 200)] * 2
        assert web.carried == [carried_by(call) for call in calls]
        assert calls[0].ended <= calls[1].started


def test_libraries_on_top_read_chunks(posting, web):
    _, (call,) = posting().monitored([(f"http://localhost:{web.port}/chunked", "x")])
    assert (call.received_bytes, call.status) == (13, 200)


def test_each_retry_is_a_call(library, web):
    web.failures = 2
    driver = library(
        """
        import urllib3
        def handler(url, context):
            retries = urllib3.Retry(5, status_forcelist=[503], backoff_factor=0)
            return urllib3.PoolManager().request("GET", url, retries=retries).status
        """
    )
    answer, calls = driver.monitored(f"http://localhost:{web.port}/flaky")
    assert answer == 200
    assert [call.status for call in calls] == [503, 503, 200]
    assert len({call.fingerprint for call in calls}) == 1
    assert web.carried == [carried_by(call) for call in calls]


def test_a_refused_connection_by_tls_is_recorded(library):
    driver = library(
        """
        import urllib3
        def handler(url, context):
            try:
                urllib3.PoolManager(retries=False).request("GET", url)
            except urllib3.exceptions.HTTPError as error:
                return type(error).__name__
        """
    )
    answer, (call,) = driver.monitored("https://localhost:1/")
    assert answer == "NewConnectionError"
    assert (call.kind, call.host, call.error) == (
        "connection",
        "localhost:1",
        "ConnectionRefusedError",
    )


def test_the_sdk_is_seen_with_service_and_operation(library, web):
    driver = library(
        """
        import boto3
        def handler(port, context):
            options = {"endpoint_url": f"http://localhost:{port}"}
            boto3.client("lambda", **options).invoke(FunctionName="fn-1", Payload=b"{}", InvocationType="Event")
            try:
                boto3.client("sns", **options).publish(TopicArn="arn:aws:sns:eu-central-1:1:t", Message="m")
            except Exception:
                pass
            boto3.client("s3", **options).put_object(Bucket="bucket", Key="k1", Body=b"12345")
        """,
        user={"AWS_ACCESS_KEY_ID": "AKIAX", "AWS_SECRET_ACCESS_KEY": "secret"},
    )
    _, calls = driver.monitored(web.port, deadline_ms=2**41)
    seen = [(call.service, call.operation, call.path) for call in calls]
    assert seen[:2] == [
        ("lambda", "Invoke", "/2015-03-31/functions/fn-1/invocations"),
        ("sns", "Publish", "/"),
    ]
    assert seen[-1] == ("s3", "", "/bucket/k1")
    assert calls[-1].sent_bytes > 0
    assert {call.kind for call in calls} == {"http"}
    assert web.carried == [carried_by(call) for call in calls]
