"""Makes samples of what is known of calls and connections: which of it says something of a path, and since when. Pure."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from forerun.host.channels import Sample
from forerun.model import OutgoingCall, service_address

if TYPE_CHECKING:
    from forerun.sandbox import Connection

MOST_REMEMBERED = 4096
MOST_CALLS = 200
# What is carried in less says more of the round trip than of the speed.
LARGE = 64 * 1024

_SYN_SENT = 2
_STALLED = 3
# Errors that say nothing of the path: the caller gave up, or did not like what came.
_NOT_OF_THE_PATH = frozenset(
    ("CancelledError", "GeneratorExit", "KeyboardInterrupt", "SSLCertVerificationError", "")
)


def samples_of_calls(calls: Iterable[OutgoingCall]) -> Iterator[Sample]:
    """What the calls of one execution, as its runtime saw them, tell of paths; at most of ``MOST_CALLS``.

    Any answer came over a path that works, whatever it said. A connection that was still being opened at the end of its
    execution failed.
    """
    for number, call in enumerate(calls):
        if number >= MOST_CALLS:
            return
        if service_address(call.host) is None:
            continue
        if call.status == 0 and (call.error not in _NOT_OF_THE_PATH or _never_opened(call)):
            yield Sample(call.host, failed=True, reported=True)
        elif call.ended and (call.status or call.rtt_ms):
            seconds = call.ended - call.started
            carried = call.sent_bytes + call.received_bytes
            yield Sample(
                call.host,
                latency_ms=call.rtt_ms or None,
                bytes_per_s=carried / seconds if carried >= LARGE and seconds > 0 else 0.0,
                reported=True,
            )


def _never_opened(call: OutgoingCall) -> bool:
    return call.kind == "connection" and not call.ended


class Flows:
    """Remembers what each connection had carried when it was looked at last: one that carried nothing since says nothing new."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, int], tuple[int, int]] = OrderedDict()

    def samples(self, service: str, connection: "Connection") -> Iterator[Sample]:
        """What it tells of the path to ``service``."""
        info = connection.info
        if info.state == _SYN_SENT:
            if info.timeouts:
                yield Sample(service, failed=True)
            return
        segments, resent = self._known.get(connection.identity, (0, 0))
        self._remember(connection.identity, (info.segments, info.resent))
        if info.timeouts >= _STALLED:
            yield Sample(service, failed=True)
        elif info.segments > segments:
            yield Sample(
                service,
                latency_ms=info.rtt_ms or None,
                bytes_per_s=info.delivery_bytes_per_s if info.segments * 1400 >= LARGE else 0.0,
                sent=info.segments - segments,
                resent=max(0, info.resent - resent),
            )

    def _remember(self, identity: tuple[int, int], carried: tuple[int, int]) -> None:
        self._known[identity] = carried
        self._known.move_to_end(identity)
        while len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
