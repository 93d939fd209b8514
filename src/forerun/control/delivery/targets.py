"""Brings messages to targets other than functions: to sinks, whose policy is asked first, and to URLs."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from forerun.control.delivery.permission import Permission, Sender, sender_of
from forerun.errors import ForerunError, NotFound, StorageFailed
from forerun.model import Arn, Message
from forerun.sources import Sink

URL = "url"
"""The service of targets that are URLs."""


class Deliverer(Protocol):
    """Brings messages to one target."""

    async def deliver(
        self, target: str, messages: Sequence[Message]
    ) -> Sequence[ForerunError | None]:
        """For each message ``None`` when the target has it, or why not."""
        ...


def service_of(target: str) -> str:
    """The service of a target: ``url``, or that in its ARN; ``InvalidInput`` for what is neither."""
    if target.startswith(("http://", "https://")):
        return URL
    return Arn.parse(target).service


class SinkTarget:
    """``Deliverer`` to a source that takes messages."""

    def __init__(self, sink: Sink, permission: Permission) -> None:
        self._sink = sink
        self._permission = permission

    async def deliver(
        self, target: str, messages: Sequence[Message]
    ) -> Sequence[ForerunError | None]:
        """Ask the policy for every message, and give the sink those that may."""
        try:
            policy = await self._sink.policy(target)
        except ForerunError as error:
            return [error] * len(messages)
        rulings: dict[Sender, ForerunError | None] = {}
        answers: list[ForerunError | None] = []
        for message in messages:
            sender = sender_of(message)
            if sender not in rulings:
                rulings[sender] = self._ruling(sender, target, policy)
            answers.append(rulings[sender])
        allowed = [index for index, answer in enumerate(answers) if answer is None]
        if allowed:
            taken = await self._sink.take([messages[index] for index in allowed])
            if len(taken) != len(allowed):
                raise StorageFailed(
                    f"{self._sink.service} answered for {len(taken)} of {len(allowed)} messages"
                )
            for index, answer in zip(allowed, taken, strict=True):
                answers[index] = answer
        return answers

    def _ruling(self, sender: Sender, target: str, policy: str | None) -> ForerunError | None:
        try:
            self._permission.require(sender, target, policy)
        except ForerunError as error:
            return error
        return None


class Targets:
    """Finds who delivers to a target."""

    def __init__(self, deliverers: Mapping[str, Deliverer]) -> None:
        self._deliverers = dict(deliverers)

    def add(self, service: str, deliverer: Deliverer) -> None:
        """Targets of this service are delivered to by it from now on."""
        self._deliverers[service] = deliverer

    async def deliver(
        self, target: str, messages: Sequence[Message]
    ) -> Sequence[ForerunError | None]:
        """As ``Deliverer``; whatever goes wrong is an answer."""
        try:
            deliverer = self._deliverers.get(service_of(target))
            if deliverer is None:
                raise NotFound(f"Nothing takes messages for {target}")
            return await deliverer.deliver(target, messages)
        except ForerunError as error:
            return [error] * len(messages)
