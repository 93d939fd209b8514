"""Who may send to what: services by the target's policy, roles by their own, the platform's own sources at home only."""

import json

import pytest
from tests.fakes.clock import FakeClock
from tests.fakes.functions import make_function

from forerun.control.authorization import Authorizer, Rights
from forerun.control.delivery.permission import ACTIONS, Permission, Sender
from forerun.control.policies import Names, PolicyKind, parse_policy
from forerun.control.registry import Resolved
from forerun.errors import AccessDenied, InvalidInput, NotFound

HOME, OTHER = "1" * 12, "2" * 12
REGION = "us-home-1"
RULE = f"arn:aws:events:{REGION}:{HOME}:rule/x"
ROLE = f"arn:aws:iam::{HOME}:role/sender"
EVENTS = "events.amazonaws.com"


def target(service, account=HOME):
    resource = {"lambda": "function:f", "sqs": "q", "sns": "t", "events": "event-bus/b"}[service]
    return f"arn:aws:{service}:{REGION}:{account}:{resource}"


def policy(action, resource, *, principal=None, **condition):
    statement = {
        "Effect": "Allow",
        "Principal": principal or {"Service": EVENTS},
        "Action": action,
        "Resource": resource,
    }
    if condition:
        statement["Condition"] = condition
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Source:
    """Rights of roles, by the ARN of their session."""

    def __init__(self):
        self.policies = {}

    def rights(self, principal_arn):
        role = f"arn:aws:iam::{HOME}:role/{principal_arn.split('/')[1]}"
        documents = self.policies.get(role, ())
        return Rights(
            Names((principal_arn, role), HOME),
            tuple(parse_policy(each, PolicyKind.IDENTITY) for each in documents),
            {},
        )


class Roles:
    def __init__(self):
        self.documents = {}

    def trust(self, account, name):
        return self.documents.get((account, name))


class Registry:
    def __init__(self):
        self.policy = None
        self.asked = []

    def peek(self, account, name, qualifier, pick):
        return None

    async def resolve(self, account, name, qualifier, pick):
        self.asked.append((account, name, qualifier))
        if name == "gone":
            raise NotFound("Function not found")
        arn = f"arn:aws:lambda:{REGION}:{account}:function:{name}"
        return Resolved(
            function=make_function(name, account=account),
            qualifier=qualifier,
            invoked_arn=f"{arn}:{qualifier}" if qualifier else arn,
            policy=parse_policy(self.policy, PolicyKind.RESOURCE) if self.policy else None,
        )


class Rig:
    def __init__(self):
        self.source, self.roles, self.registry = Source(), Roles(), Registry()
        self.permission = Permission(
            registry=self.registry,
            authorizer=Authorizer(self.source, FakeClock()),
            roles=self.roles,
            region=REGION,
        )

    def may(self, sender, arn, document=None):
        try:
            self.permission.require(sender, arn, document)
        except AccessDenied:
            return False
        return True


@pytest.fixture
def rig():
    return Rig()


def sender(**changes):
    return Sender(**({"account": HOME, "source": RULE, "principal": EVENTS} | changes))


SERVICES = sorted(ACTIONS)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("owner", [HOME, OTHER], ids=["home", "another"])
def test_a_service_needs_the_policy_of_the_target_in_its_own_account_too(rig, service, owner):
    arn, action = target(service, owner), ACTIONS[service]
    assert not rig.may(sender(), arn)
    assert rig.may(sender(), arn, policy(action, arn))
    assert rig.may(sender(), arn, policy("*", "*", principal="*"))
    assert not rig.may(sender(principal="sns.amazonaws.com"), arn, policy(action, arn))
    assert not rig.may(sender(), arn, policy(f"{service}:Other", arn))
    assert not rig.may(sender(), arn, policy(action, f"{arn}x"))


@pytest.mark.parametrize("service", SERVICES)
def test_the_target_may_ask_for_the_source_and_its_account(rig, service):
    arn, action = target(service), ACTIONS[service]
    by_arn = policy(action, arn, ArnLike={"AWS:SourceArn": RULE})
    by_account = policy(action, arn, StringEquals={"aws:SourceAccount": HOME})
    assert rig.may(sender(), arn, by_arn)
    assert not rig.may(sender(source=f"{RULE}y"), arn, by_arn)
    assert rig.may(sender(), arn, by_account)
    assert not rig.may(sender(account=OTHER), arn, by_account)


@pytest.mark.parametrize("service", SERVICES)
def test_an_explicit_deny_wins(rig, service):
    arn = target(service)
    both = json.loads(policy("*", "*"))
    both["Statement"].append(
        {"Effect": "Deny", "Principal": "*", "Action": ACTIONS[service], "Resource": arn}
    )
    assert not rig.may(sender(), arn, json.dumps(both))


def allow(action, resource):
    return {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Action": action, "Resource": resource},
    }


@pytest.mark.parametrize("service", SERVICES)
def test_a_role_suffices_at_home_and_both_are_needed_elsewhere(rig, service):
    home, away, action = target(service), target(service, OTHER), ACTIONS[service]
    by_role = sender(role=ROLE)
    assert not rig.may(by_role, home)
    rig.source.policies[ROLE] = [allow(action, "*")]
    assert rig.may(by_role, home)
    assert not rig.may(by_role, away)
    assert rig.may(by_role, away, policy(action, away, principal={"AWS": ROLE}))
    assert not rig.may(by_role, away, policy(action, away))


def test_a_role_must_be_of_the_senders_account_and_trust_the_service(rig):
    arn = target("sqs")
    rig.source.policies[ROLE] = [allow("sqs:*", "*")]
    assert not rig.may(sender(role=ROLE, account=OTHER), arn)
    assert not rig.may(sender(role=f"arn:aws:iam::{HOME}:user/sender"), arn)
    trust = {"Version": "2012-10-17", "Statement": []}
    for service, may in (("lambda.amazonaws.com", False), (EVENTS, True)):
        trust["Statement"] = [
            {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        ]
        rig.roles.documents[HOME, "sender"] = json.dumps(trust)
        assert rig.may(sender(role=ROLE), arn) is may


@pytest.mark.parametrize("service", SERVICES)
def test_the_platforms_own_sources_send_at_home_and_nowhere_else(rig, service):
    own = sender(principal="folders.forerun")
    everybody = policy("*", "*", principal="*")
    assert rig.may(own, target(service))
    assert not rig.may(own, target(service, OTHER), everybody)


def test_a_bucket_tells_the_bus_of_its_account_without_leave(rig):
    bucket = sender(principal="s3.amazonaws.com", source="arn:aws:s3:::b")
    assert rig.may(bucket, target("events"))
    assert not rig.may(bucket, target("events", OTHER))
    assert not rig.may(bucket, target("sqs"))


@pytest.mark.parametrize(
    ("service", "command"),
    [
        (
            "lambda",
            f"aws lambda add-permission --function-name f --statement-id events --action lambda:InvokeFunction --principal {EVENTS} --source-arn {RULE}",
        ),
        ("sqs", "aws sqs set-queue-attributes"),
        ("sns", "aws sns set-topic-attributes"),
        ("events", "aws events put-permission --event-bus-name b"),
    ],
)
def test_a_refusal_says_how_to_allow_it(rig, service, command):
    with pytest.raises(AccessDenied) as refused:
        rig.permission.require(sender(), target(service), None)
    assert ACTIONS[service] in refused.value.message
    assert command in refused.value.message
    with pytest.raises(AccessDenied, match="aws iam put-role-policy --role-name sender"):
        rig.permission.require(sender(role=ROLE), target(service), None)


async def test_a_function_is_found_with_its_qualifier_and_asked_by_its_own_policy(rig):
    arn = f"{target('lambda', OTHER)}:live"
    with pytest.raises(AccessDenied, match="--qualifier live"):
        await rig.permission.function(sender(), arn)
    rig.registry.policy = policy("lambda:InvokeFunction", arn)
    resolved = await rig.permission.function(sender(), arn)
    assert (resolved.function.account, resolved.qualifier) == (OTHER, "live")
    assert rig.registry.asked[-1] == (OTHER, "f", "live")


@pytest.mark.parametrize(
    ("arn", "error"),
    [
        (f"arn:aws:lambda:{REGION}:{HOME}:function:gone", NotFound),
        (f"arn:aws:lambda:eu-west-1:{HOME}:function:f", NotFound),
        (f"arn:aws:lambda:{REGION}:{HOME}:function:no name", InvalidInput),
        (f"arn:aws:lambda:{REGION}:{HOME}:layer:f", InvalidInput),
    ],
    ids=["gone", "region", "name", "layer"],
)
async def test_what_is_no_function_here_is_told(rig, arn, error):
    with pytest.raises(error):
        await rig.permission.function(sender(), arn)


def test_a_policy_that_cannot_be_read_allows_nothing(rig):
    with pytest.raises(InvalidInput):
        rig.permission.require(sender(), target("sqs"), "{")
