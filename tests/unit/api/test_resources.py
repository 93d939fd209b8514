"""Which ARN a request is about, as policies are asked."""

from types import SimpleNamespace

import pytest

from forerun.api.caller import Caller
from forerun.api.resources import resource_of

CALLER = Caller(
    account="111111111111",
    region="us-home-1",
    principal_arn="arn:aws:iam::111111111111:user/a",
    access_key_id="AKIA",
    request_id="r",
)


@pytest.mark.parametrize(
    ("service", "members"),
    [
        ("sns", {"TopicArn": "arn:aws-cn:sns:us-home-1:111111111111:t"}),
        ("sns", {"TopicArn": "arn::sns:us-home-1:111111111111:t"}),
        ("events", {"ResourceARN": "arn:x:sns:us-home-1:111111111111:t"}),
    ],
    ids=["another", "none", "any"],
)
def test_a_partition_hides_nothing_from_policies(service: str, members: dict[str, str]) -> None:
    found = resource_of(service, CALLER, SimpleNamespace(**members))
    assert found == "arn:aws:sns:us-home-1:111111111111:t"


def test_what_names_nothing_is_anything() -> None:
    assert resource_of("sns", CALLER, SimpleNamespace()) == "*"
