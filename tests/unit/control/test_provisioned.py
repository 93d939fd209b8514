"""Provisioned concurrency: what may be configured, where it goes, and what a host is told to hold for it."""

import asyncio
import time

import pytest
from tests.unit.control.owned import arn, open_estate

from forerun.host import Standing


class Host:
    """Holds at once whatever it is told, unless it is to fail."""

    def __init__(self):
        self.held = {}
        self.keys = {}
        self.granted = {}
        self.failure = ""
        self.slow = False

    def require(self, function, total):
        self.held[function.name, function.version] = total
        self.keys[function.sandbox_key] = (function.name, function.version)
        if not total:
            del self.held[function.name, function.version]

    def standing(self, key):
        total = self.held.get(self.keys.get(key), 0)
        if self.failure:
            return Standing(failure=self.failure)
        if self.slow:
            return Standing(preparing=total)
        return Standing(idle=total, provisioned=total)

    def grant(self, account, name, amount):
        self.granted[name] = amount


@pytest.fixture
async def host(estate):
    host = Host()
    await estate.provisioning.start(host.require, host.standing, host.grant)
    yield host
    await estate.provisioning.close()


async def holds(host, held):
    """Reading what is configured takes threads their time."""
    deadline = time.monotonic() + 10
    while host.held != held:
        assert time.monotonic() < deadline, f"{host.held} is not {held}"
        await asyncio.sleep(0.002)


async def provisioned(aws, qualifier, count, name="fn"):
    return await aws.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=count
    )


async def shown(aws, qualifier, name="fn"):
    return await aws.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)


async def published(aws, versions=1, name="fn"):
    await aws.create(name, Publish=True)
    for number in range(2, versions + 1):
        await aws.update_function_configuration(FunctionName=name, Timeout=number)
        await aws.publish_version(FunctionName=name)


async def test_life_of_a_configuration(aws, host, refused):
    await published(aws)
    answer = await provisioned(aws, "1", 3)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert (answer["Status"], answer["RequestedProvisionedConcurrentExecutions"]) == (
        "IN_PROGRESS",
        3,
    )
    assert answer["LastModified"].endswith("+0000")
    await holds(host, {("fn", "1"): 3})
    assert host.granted == {"fn": 3}
    now = await shown(aws, "1")
    assert now["Status"] == "READY"
    assert now["AvailableProvisionedConcurrentExecutions"] == 3
    assert now["AllocatedProvisionedConcurrentExecutions"] == 3
    assert "StatusReason" not in now
    await provisioned(aws, "1", 5)
    await holds(host, {("fn", "1"): 5})
    [listed] = (await aws.list_provisioned_concurrency_configs(FunctionName="fn"))[
        "ProvisionedConcurrencyConfigs"
    ]
    assert (listed["FunctionArn"], listed["Status"]) == (arn("fn", "1"), "READY")
    await aws.delete_provisioned_concurrency_config(FunctionName="fn", Qualifier="1")
    await holds(host, {})
    assert host.granted == {"fn": 0}
    await refused(shown(aws, "1"), "ProvisionedConcurrencyConfigNotFoundException")
    await aws.delete_provisioned_concurrency_config(FunctionName="fn", Qualifier="1")


async def test_status_tells_of_progress_and_failure(aws, host):
    await published(aws)
    host.slow = True
    await provisioned(aws, "1", 2)
    await holds(host, {("fn", "1"): 2})
    now = await shown(aws, "1")
    assert now["Status"] == "IN_PROGRESS"
    assert now["AvailableProvisionedConcurrentExecutions"] == 0
    assert now["AllocatedProvisionedConcurrentExecutions"] == 2
    host.failure = "ImportError: no module"
    now = await shown(aws, "1")
    assert (now["Status"], now["StatusReason"]) == ("FAILED", "ImportError: no module")


async def test_what_is_refused(aws, host, refused):
    await published(aws)
    await aws.create_alias(FunctionName="fn", Name="latest", FunctionVersion="$LATEST")
    for qualifier in ("$LATEST", "latest"):
        await refused(
            provisioned(aws, qualifier, 1), "InvalidParameterValueException", "unpublished"
        )
    await refused(provisioned(aws, "1", 0), "ValidationException", "greater than or equal to 1")
    for qualifier in ("2", "none"):
        await refused(provisioned(aws, qualifier, 1), "ResourceNotFoundException")
    await refused(provisioned(aws, "1", 1, name="none"), "ResourceNotFoundException")
    await refused(provisioned(aws, "1", 901), "InvalidParameterValueException", "[100]")
    await aws.put_function_concurrency(FunctionName="fn", ReservedConcurrentExecutions=4)
    await refused(
        provisioned(aws, "1", 5), "InvalidParameterValueException", "reservedConcurrentExecution"
    )
    await holds(host, {})
    snapped = {"SnapStart": {"ApplyOn": "PublishedVersions"}}
    await aws.create("snapped", Publish=True, **snapped)
    await refused(
        provisioned(aws, "1", 1, "snapped"), "InvalidParameterValueException", "SnapStart"
    )


async def test_reservations_and_account_settings_know_of_it(aws, host, refused):
    await published(aws, 2)
    await published(aws, name="other")

    async def unreserved():
        return (await aws.get_account_settings())["AccountLimit"]["UnreservedConcurrentExecutions"]

    await provisioned(aws, "1", 10)
    await provisioned(aws, "2", 20)
    assert await unreserved() == 970
    await refused(
        aws.put_function_concurrency(FunctionName="fn", ReservedConcurrentExecutions=29),
        "InvalidParameterValueException",
        "[30]",
    )
    await aws.put_function_concurrency(FunctionName="fn", ReservedConcurrentExecutions=30)
    assert await unreserved() == 970
    await refused(provisioned(aws, "2", 21), "InvalidParameterValueException")
    await provisioned(aws, "2", 5)
    assert await unreserved() == 970
    await aws.delete_function_concurrency(FunctionName="fn")
    assert await unreserved() == 985
    await refused(
        aws.put_function_concurrency(FunctionName="other", ReservedConcurrentExecutions=886),
        "InvalidParameterValueException",
        "[100]",
    )
    await aws.put_function_concurrency(FunctionName="other", ReservedConcurrentExecutions=885)


async def test_version_and_alias_cannot_both_have_it(aws, host, refused):
    await published(aws, 2)
    await aws.create_alias(FunctionName="fn", Name="live", FunctionVersion="1")
    await provisioned(aws, "live", 2)
    await refused(provisioned(aws, "1", 1), "ResourceConflictException", "alias")
    await provisioned(aws, "2", 1)
    await aws.create_alias(FunctionName="fn", Name="next", FunctionVersion="2")
    await refused(provisioned(aws, "next", 1), "ResourceConflictException", "already Provisioned")
    await aws.create_alias(
        FunctionName="fn",
        Name="split",
        FunctionVersion="1",
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}},
    )
    await refused(provisioned(aws, "split", 1), "InvalidParameterValueException", "weights")


@pytest.mark.databases
async def test_it_moves_with_its_alias_and_ends_with_what_it_belongs_to(aws, host):
    await published(aws, 3)
    await aws.create_alias(FunctionName="fn", Name="live", FunctionVersion="1")
    await provisioned(aws, "live", 10)
    await holds(host, {("fn", "1"): 10})
    await aws.update_alias(
        FunctionName="fn",
        Name="live",
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.25}},
    )
    await holds(host, {("fn", "1"): 7, ("fn", "2"): 3})
    assert (await shown(aws, "live"))["Status"] == "READY"
    await aws.update_alias(FunctionName="fn", Name="live", FunctionVersion="3", RoutingConfig={})
    await holds(host, {("fn", "3"): 10})
    await aws.create_alias(FunctionName="fn", Name="also", FunctionVersion="3")
    await provisioned(aws, "also", 5)
    await holds(host, {("fn", "3"): 15})
    assert (await shown(aws, "live"))["AvailableProvisionedConcurrentExecutions"] == 10
    await aws.delete_alias(FunctionName="fn", Name="live")
    await holds(host, {("fn", "3"): 5})
    await aws.update_alias(FunctionName="fn", Name="also", FunctionVersion="$LATEST")
    await holds(host, {})
    assert "$LATEST" in (await shown(aws, "also"))["StatusReason"]
    await provisioned(aws, "2", 4)
    await holds(host, {("fn", "2"): 4})
    await aws.delete_function(FunctionName="fn", Qualifier="2")
    await holds(host, {})
    await provisioned(aws, "1", 1)
    await aws.delete_function(FunctionName="fn")
    await holds(host, {})


async def test_a_start_holds_what_was_configured_before(tmp_path, aws, estate, host, clock):
    await published(aws)
    await provisioned(aws, "1", 3)
    db, later = await open_estate(tmp_path, clock)
    again = Host()
    await later.provisioning.start(again.require, again.standing, again.grant)
    try:
        await holds(again, {("fn", "1"): 3})
        assert again.granted == {"fn": 3}
    finally:
        await later.provisioning.close()
        await db.close()
