"""What one publication may take of the server, however many are subscribed."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.unit.sources.topic_rig import QUEUE, topics

from forerun.model import Message
from forerun.sources.topics import publisher


async def test_messages_for_many_are_handed_over_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with topics(tmp_path) as rig:
        topic = await rig.topic()
        for number in range(5):
            await rig.subscribe(topic, "sqs", f"{QUEUE}{number}", RawMessageDelivery="true")
        sizes: list[int] = []
        send = rig.outbox.send

        async def counted(messages: Sequence[Message]) -> None:
            sizes.append(len(messages))
            await send(messages)

        monkeypatch.setattr(rig.outbox, "send", counted)
        monkeypatch.setattr(publisher, "AT_ONCE_BYTES", 6)
        await rig.publish(topic, "four")
        assert sizes == [2, 2, 1]
        assert len({each.target for each in rig.sent()}) == 5
