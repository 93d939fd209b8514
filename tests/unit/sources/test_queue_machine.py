"""A queue against a simple model of it: whatever is sent, taken, finished, given back and waited for, restarts included."""

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.unit.sources.queue_rig import QueueRig

MOST = 2
RETENTION_S = 600
counts = st.integers(1, 4)
seconds = st.sampled_from([0, 1, 5, 30])


@dataclass
class Known:
    """What the model knows of one message."""

    id: str
    number: int
    sent_at: float
    visible_at: float
    group: str = ""
    received: int = 0
    marks: list[int] = field(default_factory=list)


class QueueMachine(RuleBasedStateMachine):
    """Of a queue without order; ``ordered`` makes it a FIFO queue with three groups."""

    ordered = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="queue-")
        self.loop = asyncio.new_event_loop()
        self.rig = self.do(QueueRig.open(Path(self.folder.name)))
        suffix = ".fifo" if self.ordered else ""
        self.do(self.rig.make(f"dead{suffix}"))
        dead = self.rig.arn(f"dead{suffix}")
        self.name = f"live{suffix}"
        redrive = f'{{"deadLetterTargetArn": "{dead}", "maxReceiveCount": {MOST}}}'
        self.do(
            self.rig.make(self.name, RedrivePolicy=redrive, MessageRetentionPeriod=str(RETENTION_S))
        )
        self.dead_name = f"dead{suffix}"
        self.known: dict[str, Known] = {}
        self.dead: set[str] = set()
        self.names: dict[str, tuple[float, str]] = {}
        self.sent = 0

    def do(self, work):
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.do(self.rig.close())
        self.loop.close()
        self.folder.cleanup()

    @property
    def queue(self):
        return self.rig.queues.by_arn(self.rig.arn(self.name))

    @property
    def now(self) -> float:
        return self.rig.clock.now()

    def _is_expired(self, known: Known) -> bool:
        return known.sent_at <= self.now - RETENTION_S

    def _visible(self) -> list[Known]:
        """What may be taken now, by the model: all that is due, in ordered queues only of groups without one in flight."""
        due = [each for each in self.known.values() if each.visible_at <= self.now]
        if not self.ordered:
            return due
        locked = {
            each.group
            for each in self.known.values()
            if each.received and each.visible_at > self.now
        }
        heads: dict[str, Known] = {}
        for each in sorted(self.known.values(), key=lambda each: each.number):
            heads.setdefault(each.group, each)
        late = {group for group, head in heads.items() if head.visible_at > self.now}
        return [each for each in due if each.group not in locked | late]

    @rule(delay=st.sampled_from([None, 0, 5]), name=st.sampled_from("abc"))
    def send(self, delay, name):
        self.sent += 1
        given = {} if self.ordered else {"delay_s": delay}
        if self.ordered:
            given = {"group": f"g{self.sent % 3}", "name": f"{name}{self.sent // 8}"}
        sent = self.do(self.rig.send(self.queue, f"body {self.sent}", **given))
        if self.ordered:
            until, first = self.names.get(given["name"], (0.0, ""))
            if until > self.now:
                assert sent.id == first
                return
            self.names[given["name"]] = self.now + 300, sent.id
        self.known[sent.id] = Known(
            id=sent.id,
            number=self.sent,
            sent_at=self.now,
            visible_at=self.now + (delay or 0 if not self.ordered else 0),
            group=given.get("group", ""),
        )

    @rule(most=counts, hide=st.sampled_from([1, 10, 40]))
    def receive(self, most, hide):
        before = self._visible()
        sound = [each for each in before if each.received < MOST and not self._is_expired(each)]
        got = self.do(self.rig.receive(self.queue, most, hide_s=hide))
        here, there = self._places()
        for each in list(self.known.values()):
            if each.id in there:
                assert each in before
                assert each.received == MOST
                assert not self._is_expired(each)
                self.dead.add(each.id)
                del self.known[each.id]
            elif each.id not in here:
                assert each in before
                assert self._is_expired(each)
                del self.known[each.id]
        assert len(got) <= most
        assert bool(got) or not sound
        if len(sound) == len(before) and not self.ordered:
            assert len(got) == min(most, len(sound))
        if self.ordered:
            self._check_order(before, [message.id for message in got])
        for message in got:
            each = self.known[message.id]
            assert each in sound
            each.received += 1
            assert message.received == each.received
            each.visible_at = self.now + hide
            each.marks.append(message.mark)

    def _check_order(self, before: list[Known], got: list[str]) -> None:
        """Of each group the first ones, in their order; as many as were asked for."""
        by_group: dict[str, list[str]] = {}
        for message in got:
            by_group.setdefault(self.known[message].group, []).append(message)
        for group, ids in by_group.items():
            left = [
                each.id
                for each in sorted(before, key=lambda each: each.number)
                if each.group == group and each.id in self.known
            ]
            assert ids == left[: len(ids)]

    def _places(self) -> tuple[set[str], set[str]]:
        rows = self.do(self.rig.db.fetch("SELECT id, queue FROM queue_messages"))
        dead = self.rig.queues.by_arn(self.rig.arn(self.dead_name)).id
        return (
            {message for message, queue in rows if queue == self.queue.id},
            {message for message, queue in rows if queue == dead},
        )

    def _taken(self) -> list[Known]:
        return [each for each in self.known.values() if each.marks]

    @precondition(lambda self: self._taken())
    @rule(data=st.data())
    def finish(self, data):
        each = data.draw(st.sampled_from(self._taken()), label="message")
        mark = data.draw(st.sampled_from(each.marks), label="mark")
        gone = self.do(self.rig.traffic.finish(self.queue, [mark]))
        assert bool(gone) == (mark == each.marks[-1])
        if gone:
            del self.known[each.id]

    @precondition(lambda self: self._taken())
    @rule(data=st.data(), delay=seconds)
    def give_back(self, data, delay):
        each = data.draw(st.sampled_from(self._taken()), label="message")
        self.do(self.rig.traffic.release(self.queue, [each.marks[-1]], delay_s=delay))
        if each.visible_at > self.now:
            each.visible_at = self.now + delay

    @precondition(lambda self: self._taken())
    @rule(data=st.data(), for_s=seconds)
    def hide(self, data, for_s):
        each = data.draw(st.sampled_from(self._taken()), label="message")
        mark = data.draw(st.sampled_from(each.marks), label="mark")
        [done] = self.do(self.rig.traffic.hide(self.queue, [(mark, for_s)]))
        assert done == (mark == each.marks[-1] and each.visible_at > self.now)
        if done:
            each.visible_at = self.now + for_s

    @rule(passed=st.sampled_from([0.5, 4, 9, 35, 301]))
    def wait(self, passed):
        self.rig.clock.jump(passed)

    @rule()
    def restart(self):
        self.do(self.rig.traffic.close())
        self.do(self.rig.begin())

    @rule()
    def sweep(self):
        self.do(self.rig.traffic.expire())
        here, _ = self._places()
        for each in list(self.known.values()):
            if each.id not in here:
                assert self._is_expired(each)
                del self.known[each.id]
            elif self._is_expired(each):
                # It was taken, or delayed: it goes when it would be taken.
                assert each.visible_at > each.sent_at

    @invariant()
    def everything_is_somewhere(self):
        here, there = self._places()
        assert here == set(self.known)
        assert there == self.dead
        assert self.queue.total == len(self.known)

    @invariant()
    def the_backlog_is_told(self):
        backlog = self.do(self.rig.traffic.backlog(self.queue))
        later = [each for each in self.known.values() if each.visible_at > self.now]
        assert backlog.hidden == sum(each.received > 0 for each in later)
        assert backlog.delayed == sum(each.received == 0 for each in later)
        assert backlog.visible == len(self.known) - len(later)


class OrderedMachine(QueueMachine):
    ordered = True


LESS = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestQueue = QueueMachine.TestCase
TestQueue.settings = LESS
TestOrdered = OrderedMachine.TestCase
TestOrdered.settings = LESS
