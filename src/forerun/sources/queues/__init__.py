"""Queues: messages wait in them until somebody takes and finishes them. What SQS is on AWS.

What is promised: a message that was accepted is on disk and is given out at least once, until it is finished, given up to
a dead-letter queue, or older than its queue keeps messages. Who has a message is alone with it until its
visibility ends. In queues with order (FIFO) messages of a group come in the order they were sent, none while an
earlier one is in flight, and a name is accepted once in five minutes. Who waits is woken by what is sent.

``Queues`` knows which queues there are, ``Traffic`` moves messages, ``QueueSink``, ``QueuePollable`` and ``QueueShelf`` are
what the rest of the platform sees.
"""

from forerun.sources.queues.attributes import MOST_BYTES, OBSERVED, SETTABLE, shown
from forerun.sources.queues.contents import (
    TRACE_HEADER,
    Attribute,
    Envelope,
    Envelopes,
    attributes_md5,
    size_of,
)
from forerun.sources.queues.doors import QueuePollable, QueueShelf, QueueSink
from forerun.sources.queues.faults import (
    BadAttributeName,
    BadAttributeValue,
    BadContents,
    BadReceipt,
    MissingParameter,
    NoSuchQueue,
    NotInFlight,
    PurgeRunning,
    QueueExists,
    TooManyInFlight,
)
from forerun.sources.queues.queue import Queue, Tally, queue_arn
from forerun.sources.queues.receipts import from_receipt, to_receipt
from forerun.sources.queues.records import system_attributes
from forerun.sources.queues.registry import Queues
from forerun.sources.queues.sending import Outgoing, Sent, prepare, to_sequence
from forerun.sources.queues.traffic import Traffic

__all__ = [
    "MOST_BYTES",
    "OBSERVED",
    "SETTABLE",
    "TRACE_HEADER",
    "Attribute",
    "BadAttributeName",
    "BadAttributeValue",
    "BadContents",
    "BadReceipt",
    "Envelope",
    "Envelopes",
    "MissingParameter",
    "NoSuchQueue",
    "NotInFlight",
    "Outgoing",
    "PurgeRunning",
    "Queue",
    "QueueExists",
    "QueuePollable",
    "QueueShelf",
    "QueueSink",
    "Queues",
    "Sent",
    "Tally",
    "TooManyInFlight",
    "Traffic",
    "attributes_md5",
    "from_receipt",
    "prepare",
    "queue_arn",
    "shown",
    "size_of",
    "system_attributes",
    "to_receipt",
    "to_sequence",
]
