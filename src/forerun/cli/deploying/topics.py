"""Topics, their policies and subscriptions, brought to the wanted state and left alone where they are there already."""

from typing import Any

from forerun.cli.deploying.functions import CREATED, UNCHANGED, UPDATED, Ensured
from forerun.cli.deploying.intrinsics import Made
from forerun.cli.deploying.shaping import alike, objects, same_json, tags_of, text, texts
from forerun.cli.deploying.site import Properties, Result, Site, also_changed
from forerun.cli.failures import Failure

# What an attribute is that the template leaves out, so that a value which was taken out does not linger.
_DEFAULTS = {"DisplayName": "", "SignatureVersion": "1", "TracingConfig": "PassThrough"}
_FIFO_DEFAULTS = {"ContentBasedDeduplication": "false", "FifoThroughputScope": "Topic"}
_SUBSCRIPTION_DEFAULTS = {
    "DeliveryPolicy": "",
    "FilterPolicy": "",
    "FilterPolicyScope": "MessageAttributes",
    "RawMessageDelivery": "false",
    "RedrivePolicy": "",
}
_NO_ATTRIBUTES = frozenset({"Subscription", "Tags", "TopicName"})
_PENDING = "PendingConfirmation"


def ensure_topic(site: Site, label: str, name: str, wanted: Properties) -> Result:
    """``AWS::SNS::Topic``, with the subscriptions that stand in it."""
    client = site.clients("sns")
    given = {key: text(value) for key, value in wanted.items() if key not in _NO_ATTRIBUTES}
    tags = tags_of(wanted.get("Tags"), label)
    arn = site.arn("sns", name)
    try:
        current = client.get_topic_attributes(TopicArn=arn)["Attributes"]
    except client.exceptions.NotFoundException:
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        client.create_topic(Name=name, Attributes=given, Tags=listed)
        ensured = Ensured(CREATED, {})
    else:
        ensured = also_changed(
            Ensured(UNCHANGED, {}), _update(client, arn, current, given), _tag(client, arn, tags)
        )
    for each in objects(wanted.get("Subscription"), f"{label}.Subscription"):
        if not {"Protocol", "Endpoint"} <= each.keys():
            raise Failure(f"{label}.Subscription needs Protocol and Endpoint.")
        done, _, _ = ensure_subscription(site, label, "", {**each, "TopicArn": arn})
        ensured = also_changed(ensured, done.action != UNCHANGED)
    return ensured, Made(arn, {"TopicArn": arn, "TopicName": name}), ""


def ensure_topic_policy(site: Site, label: str, _name: str, wanted: Properties) -> Result:
    """``AWS::SNS::TopicPolicy``. A topic has a policy of its own before."""
    client = site.clients("sns")
    action = UNCHANGED
    for arn in texts(wanted["Topics"], f"{label}.Topics"):
        current = client.get_topic_attributes(TopicArn=arn)["Attributes"].get("Policy")
        if not same_json(current, wanted["PolicyDocument"]):
            _set(client, arn, "Policy", text(wanted["PolicyDocument"]))
            action = UPDATED
    return Ensured(action, {}), Made(label, {"Id": label}), ""


def ensure_subscription(site: Site, _label: str, _name: str, wanted: Properties) -> Result:
    """``AWS::SNS::Subscription``; one that waits for its confirmation is left alone.

    A function that is subscribed by another alias than before has one subscription again, not two.
    """
    client = site.clients("sns")
    where = {key: str(wanted[key]) for key in ("TopicArn", "Protocol", "Endpoint")}
    given = {key: text(wanted[key]) for key in _SUBSCRIPTION_DEFAULTS if key in wanted}
    detail = f"{where['Protocol']} {where['Endpoint'].rpartition(':')[2]}"
    known = _subscriptions(client, where)
    arn = known.pop(where["Endpoint"], None)
    if arn is None:
        made = client.subscribe(**where, Attributes=given, ReturnSubscriptionArn=True)
        arn, ensured = made["SubscriptionArn"], Ensured(CREATED, {})
        for outdated in _same_function(known, where["Endpoint"]):
            if outdated not in site.claimed:
                client.unsubscribe(SubscriptionArn=outdated)
                ensured = Ensured(UPDATED, {})
    elif arn == _PENDING:
        ensured, detail = Ensured(UNCHANGED, {}), f"{detail}, not confirmed yet"
    else:
        changed = _update_subscription(client, arn, given)
        ensured = also_changed(Ensured(UNCHANGED, {}), changed)
    site.claimed.add(arn)
    return ensured, Made(arn, {"Arn": arn}), detail


def _subscriptions(client: Any, where: dict[str, str]) -> dict[str, str]:
    """Subscriptions of the topic with the same protocol, by endpoint."""
    pages = client.get_paginator("list_subscriptions_by_topic")
    return {
        each["Endpoint"]: str(each["SubscriptionArn"])
        for page in pages.paginate(TopicArn=where["TopicArn"])
        for each in page["Subscriptions"]
        if each["Protocol"] == where["Protocol"]
    }


def _same_function(known: dict[str, str], endpoint: str) -> list[str]:
    """Subscriptions of the function of ``endpoint``, whatever their qualifiers."""
    wanted = endpoint.split(":")[:7]
    if wanted[2:3] != ["lambda"]:
        return []
    return [arn for each, arn in known.items() if each.split(":")[:7] == wanted]


def _update(client: Any, arn: str, current: dict[str, str], given: dict[str, str]) -> bool:
    fifo = _FIFO_DEFAULTS if current.get("FifoTopic") == "true" else {}
    defaults = {**_DEFAULTS, **fifo}
    changed = False
    for key, value in {**defaults, **given}.items():
        if not alike(current.get(key, defaults.get(key)), value):
            _set(client, arn, key, value)
            changed = True
    return changed


def _update_subscription(client: Any, arn: str, given: dict[str, str]) -> bool:
    current = client.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    full = {**_SUBSCRIPTION_DEFAULTS, **given}
    before = {**_SUBSCRIPTION_DEFAULTS, **current}
    changes = [key for key, value in full.items() if not same_json(before[key], value)]
    # A nested filter needs the scope that allows it, before it is set and until it is gone.
    changes.sort(key=lambda key: (key == "FilterPolicyScope") != (full[key] == "MessageBody"))
    for key in changes:
        value = full[key]
        if key == "FilterPolicy" and not value:
            value = "{}"
        client.set_subscription_attributes(
            SubscriptionArn=arn, AttributeName=key, AttributeValue=value
        )
    return bool(changes)


def _set(client: Any, arn: str, name: str, value: str) -> None:
    client.set_topic_attributes(TopicArn=arn, AttributeName=name, AttributeValue=value)


def _tag(client: Any, arn: str, tags: dict[str, str]) -> bool:
    current = client.list_tags_for_resource(ResourceArn=arn).get("Tags", [])
    known = {each["Key"]: each["Value"] for each in current}
    if all(known.get(key) == value for key, value in tags.items()):
        return False
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    client.tag_resource(ResourceArn=arn, Tags=listed)
    return True
