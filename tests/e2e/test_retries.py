"""Events whose function fails: tried three times, each on record, then told to the failure destination."""

import json
from pathlib import Path

import pytest
from tests.servers import eventually, running

pytestmark = pytest.mark.slow

FAIL = "def handler(event, context):\n    raise ValueError(event['why'])\n"
ECHO = "def handler(event, context):\n    return event\n"


def test_an_event_is_tried_three_times_and_reported(tmp_path: Path):
    with running(tmp_path / "data", settings={"FORERUN_EVENTS_RETRY_S": "0.2"}) as server:
        told = server.function(ECHO)
        failing = server.function(FAIL)
        arn = server.lambda_.get_function(FunctionName=told)["Configuration"]["FunctionArn"]
        server.lambda_.put_function_event_invoke_config(
            FunctionName=failing, DestinationConfig={"OnFailure": {"Destination": arn}}
        )
        server.lambda_.invoke(
            FunctionName=failing,
            InvocationType="Event",
            Payload=json.dumps({"why": "on purpose"}),
        )

        def all_tries():
            tries = server.invocations(failing)
            return tries if len(tries) == 3 else None

        tries = eventually(all_tries, what="three tries on record")
        assert sorted(each["attempt"] for each in tries) == [1, 2, 3]
        assert {each["status"] for each in tries} == {"error"}
        assert len({each["request_id"] for each in tries}) == 1
        [report] = eventually(lambda: server.invocations(told), what="a call of the destination")
        assert report["status"] == "success"
