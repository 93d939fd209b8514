"""Event source mappings by boto3 over a source in memory: what is accepted, what state they are in, and what is run."""

import asyncio

import pytest
from tests.fakes.clock import settle
from tests.fakes.pollable import FakePollable
from tests.unit.control.owned import ACCOUNT, OTHER, arn
from tests.unit.control.polled import FakeInvoker

from forerun.control.delivery.batch_runs import Around
from forerun.control.delivery.mapping_runs import MappingRuns
from forerun.errors import InvalidInput
from forerun.scheduling import Admission
from forerun.storage.mappings import Mapping, MappingStore

QUEUE = f"arn:aws:sqs:us-home-1:{ACCOUNT}:jobs"
STREAM = f"arn:aws:kinesis:us-home-1:{ACCOUNT}:stream/s"
INVALID = "InvalidParameterValueException"


class Mapped:
    """The estate's mappings, carried out; ``source`` is the queue ``jobs``."""

    def __init__(self, estate, aws, clock):
        self.estate = estate
        self.clock = clock
        self.source = FakePollable(clock, QUEUE)
        self.invoker = FakeInvoker(clock, Admission(100))
        self.refused = None
        self.letters = []
        self.orphans = []
        self._aws = aws

    async def put_away(self, letters):
        self.letters.extend(letters)

    async def require(self, function, source):
        if self.refused is not None:
            raise self.refused

    async def open(self):
        self.runs = MappingRuns(
            store=MappingStore(self.estate.mappings._store._db),
            pollables={"sqs": self.source},
            around=Around(
                registry=self.estate.registry,
                invoker=self.invoker,
                admission=self.invoker.admission,
                require=self.require,
                put_away=self.put_away,
                clock=self.clock,
            ),
            at_once=20,
            orphaned=self.orphans.append,
        )
        self.estate.mappings.carrier = self.runs
        await self.runs.start()

    async def make(self, **more):
        return await self._aws.create_event_source_mapping(
            **({"FunctionName": "fn", "EventSourceArn": QUEUE} | more)
        )

    async def get(self, made):
        await settle()
        return await self._aws.get_event_source_mapping(UUID=made["UUID"])

    async def state(self, made):
        return (await self.get(made))["State"]

    async def becomes(self, made, state):
        """Wait for a state that comes about by reads of the database, in real time."""
        async with asyncio.timeout(10):
            while await self.state(made) != state:
                await self.clock.advance(0.01)

    async def eventually(self, probe):
        for _ in range(200):
            await self.clock.advance(0.05)
            self.source.wake()
            await asyncio.sleep(0.001)
            found = probe()
            if found:
                return
        rows = await self.runs.rows(ACCOUNT)
        raise AssertionError(f"it did not come about: {rows}, {self.source.taken}")


@pytest.fixture
async def mapped(estate, aws, clock):
    await aws.create()
    mapped = Mapped(estate, aws, clock)
    await mapped.open()
    yield mapped
    await mapped.runs.close(grace_s=1.0)


@pytest.mark.databases
async def test_a_mapping_is_shown_as_it_is_and_runs_what_comes(mapped, aws, refused):
    made = await mapped.make(Tags={"k": "v"}, BatchSize=2)
    assert (made["State"], made["StateTransitionReason"]) == ("Creating", "USER_INITIATED")
    assert (made["BatchSize"], made["MaximumBatchingWindowInSeconds"]) == (2, 0)
    assert made["FunctionArn"] == arn("fn")
    await mapped.becomes(made, "Enabled")
    assert (await mapped.get(made))["LastProcessingResult"] == "No records processed"
    mapped.source.send("a", "b")
    await mapped.eventually(lambda: not len(mapped.source))
    assert (await mapped.get(made))["LastProcessingResult"] == "OK"
    await refused(mapped.make(), "ResourceConflictException", made["UUID"])
    resource = f"arn:aws:lambda:us-home-1:{ACCOUNT}:event-source-mapping:{made['UUID']}"
    await aws.tag_resource(Resource=resource, Tags={"x": "y"})
    assert (await aws.list_tags(Resource=resource))["Tags"] == {"k": "v", "x": "y"}
    other = aws.as_account(OTHER)
    await refused(other.get_event_source_mapping(UUID=made["UUID"]), "ResourceNotFoundException")
    other.boto.close()


@pytest.mark.databases
async def test_mappings_are_listed_by_function_and_source(mapped, aws):
    await aws.create("more")
    first, second = await mapped.make(), await mapped.make(FunctionName="more")

    async def ids(**values):
        page = await aws.list_event_source_mappings(**values)
        return {mapping["UUID"] for mapping in page["EventSourceMappings"]}

    assert await ids() == {first["UUID"], second["UUID"]}
    assert await ids(EventSourceArn=QUEUE) == {first["UUID"], second["UUID"]}
    assert await ids(FunctionName="fn", EventSourceArn=QUEUE) == {first["UUID"]}
    assert await ids(FunctionName="another") == set()


@pytest.mark.databases
async def test_a_change_counts_at_once_and_what_ran_before_it_ends(mapped, aws, clock):
    made = await mapped.make(BatchSize=1)
    mapped.invoker.takes_s = 5.0
    mapped.source.send("a")
    await mapped.eventually(lambda: mapped.invoker.batches)
    updated = await aws.update_event_source_mapping(UUID=made["UUID"], BatchSize=3)
    assert (updated["State"], updated["BatchSize"]) == ("Updating", 3)
    assert await mapped.state(made) == "Updating"
    mapped.source.send("b", "c", "d")
    await settle()
    assert len(mapped.invoker.batches[-1]) == 3
    await clock.advance(6.0)
    await mapped.eventually(lambda: not len(mapped.source))
    await mapped.becomes(made, "Enabled")


async def test_disabled_nothing_is_taken_until_it_is_enabled_again(mapped, aws, clock):
    made = await mapped.make(BatchSize=1)
    mapped.invoker.takes_s = 5.0
    [first] = mapped.source.send("a")
    await mapped.eventually(lambda: mapped.invoker.batches)
    await aws.update_event_source_mapping(UUID=made["UUID"], Enabled=False)
    assert await mapped.state(made) == "Disabling"
    [second] = mapped.source.send("b")
    await clock.advance(5.5)
    await mapped.eventually(lambda: mapped.source.finished == [first])
    await mapped.becomes(made, "Disabled")
    assert mapped.source.taken == [first]
    await aws.update_event_source_mapping(UUID=made["UUID"], Enabled=True)
    await mapped.eventually(lambda: mapped.source.taken == [first, second])


@pytest.mark.databases
async def test_a_deleted_mapping_is_there_until_what_it_took_has_ended(mapped, aws, clock, refused):
    made = await mapped.make(BatchSize=1)
    mapped.invoker.takes_s = 5.0
    mapped.source.send("a", "b")
    await mapped.eventually(lambda: len(mapped.invoker.batches) == 2)
    deleted = await aws.delete_event_source_mapping(UUID=made["UUID"])
    mapped.source.send("c")
    assert deleted["State"] == "Deleting"
    assert await mapped.state(made) == "Deleting"
    assert (await aws.list_event_source_mappings())["EventSourceMappings"] == []
    assert await mapped.runs.rows(ACCOUNT) == []
    await clock.advance(6.0)
    await mapped.eventually(lambda: len(mapped.source.finished) == 2)
    await clock.advance(0.1)
    await refused(mapped.get(made), "ResourceNotFoundException")
    assert sorted(mapped.source.taken) == ["m1", "m2"]


async def test_mappings_go_on_after_a_restart(mapped, aws):
    enabled = await mapped.make()
    await aws.create("off")
    disabled = await mapped.make(FunctionName="off", Enabled=False)
    await mapped.runs.close(grace_s=1.0)
    mapped.source.send("a")
    await mapped.open()
    await mapped.becomes(enabled, "Enabled")
    assert await mapped.state(disabled) == "Disabled"
    await mapped.eventually(lambda: not len(mapped.source))


@pytest.mark.databases
async def test_a_deleted_function_disables_its_mappings(mapped, aws, estate):
    await aws.publish_version(FunctionName="fn")
    await aws.create_alias(FunctionName="fn", Name="live", FunctionVersion="1")
    made, aliased = await mapped.make(), await mapped.make(FunctionName="fn:live")
    assert aliased["FunctionArn"] == arn("fn", "live")
    await aws.delete_alias(FunctionName="fn", Name="live")
    await estate.mappings.check_function(ACCOUNT, "fn")
    await mapped.becomes(made, "Enabled")
    await mapped.becomes(aliased, "Disabled")
    await aws.delete_function(FunctionName="fn")
    await estate.mappings.check_function(ACCOUNT, "fn")
    await mapped.becomes(made, "Disabled")
    shown = await mapped.get(made)
    assert shown["StateTransitionReason"] == f"The function {arn('fn')} does not exist any more"
    await estate.mappings.check_function(ACCOUNT, "fn")
    assert (await mapped.get(made))["LastModified"] == shown["LastModified"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"EventSourceArn": STREAM, "StartingPosition": "LATEST"}, "not served yet"),
        ({"EventSourceArn": f"arn:aws:ec2:us-home-1:{ACCOUNT}:x"}, "Unrecognized event source"),
        ({"EventSourceArn": f"{QUEUE}-none"}, "NonExistentQueue"),
        ({"BatchSize": 11}, "Maximum batch window"),
        ({"EventSourceArn": f"{QUEUE}.fifo", "BatchSize": 11}, "FIFO"),
        ({"EventSourceArn": f"{QUEUE}.fifo", "MaximumBatchingWindowInSeconds": 1}, "FIFO"),
        ({"FilterCriteria": {"Filters": [{"Pattern": "no json"}]}}, "Invalid filter pattern"),
        ({"StartingPosition": "LATEST"}, "StartingPosition"),
        ({"BisectBatchOnFunctionError": True}, "BisectBatchOnFunctionError"),
        ({"MaximumRetryAttempts": 3}, "MaximumRetryAttempts"),
        ({"DestinationConfig": {"OnFailure": {"Destination": QUEUE}}}, "DestinationConfig"),
        ({"ProvisionedPollerConfig": {"MinimumPollers": 2}}, "not served yet"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
async def test_what_would_have_no_effect_is_refused_by_name(mapped, aws, refused, values, words):
    await refused(mapped.make(**values), INVALID, words)
    assert (await aws.list_event_source_mappings())["EventSourceMappings"] == []


@pytest.mark.parametrize(
    "values",
    [
        {"ScalingConfig": {"MaximumConcurrency": 1}},
        {"ScalingConfig": {"MaximumConcurrency": 1001}},
        {"BatchSize": 0},
        {"BatchSize": 10_001, "MaximumBatchingWindowInSeconds": 1},
        {"MaximumBatchingWindowInSeconds": 301},
        {"FunctionResponseTypes": ["Everything"]},
        {"FunctionName": "none"},
    ],
    ids=str,
)
async def test_values_out_of_range_are_refused(mapped, aws, values):
    with pytest.raises(aws.boto.exceptions.ClientError):
        await mapped.make(**values)
    assert (await aws.list_event_source_mappings())["EventSourceMappings"] == []


async def test_a_source_must_let_the_role_take_and_hide_for_the_functions_timeout(
    mapped, aws, refused
):
    mapped.source.hides_s = 2.0
    await refused(
        mapped.make(),
        INVALID,
        "Queue visibility timeout: 2 seconds is less than Function timeout: 3",
    )
    mapped.source.hides_s = 3.0
    mapped.refused = InvalidInput("The provided execution role does not have permissions")
    await refused(mapped.make(), INVALID, "execution role")
    mapped.refused = None
    made = await mapped.make(Enabled=False)
    mapped.refused = InvalidInput("The provided execution role does not have permissions")
    update = aws.update_event_source_mapping(UUID=made["UUID"], Enabled=True)
    await refused(update, INVALID, "execution role")
    await mapped.becomes(made, "Disabled")


async def test_rows_tell_what_waits_and_how_fast_it_is_taken(mapped):
    made = await mapped.make(BatchSize=1, ScalingConfig={"MaximumConcurrency": 2})
    mapped.invoker.takes_s = 3.0
    mapped.source.send(*"abcd")
    await mapped.eventually(lambda: len(mapped.invoker.batches) == 2)
    [row] = await mapped.runs.rows(ACCOUNT)
    assert (row["Source"], row["Target"], row["Id"]) == (QUEUE, arn("fn"), made["UUID"])
    assert (row["State"], row["Waiting"], row["Hidden"]) == ("Enabled", 2, 2)
    assert (row["InFlight"], row["Running"], row["AtOnce"]) == (2, 2, 2)
    assert row["OldestSeconds"] > 0
    assert await mapped.runs.rows(OTHER) == []
    mapped.source.missing = True
    assert (await mapped.runs.rows(ACCOUNT))[0]["State"] == "Enabled"


@pytest.mark.databases
async def test_a_stored_mapping_of_a_source_that_is_not_served_is_shown_disabled(mapped, aws):
    stored = Mapping(
        id="0" * 36,
        account=ACCOUNT,
        name="fn",
        qualifier="",
        source=STREAM,
        enabled=True,
        config={"StartingPosition": "LATEST"},
        last_modified=1.0,
    )
    await mapped.estate.mappings._store.add(stored)
    await mapped.runs.close(grace_s=1.0)
    await mapped.open()
    assert await mapped.state({"UUID": stored.id}) == "Disabled"
    assert (await aws.delete_event_source_mapping(UUID=stored.id))["State"]
