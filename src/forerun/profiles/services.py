"""Which services on the network the executions of a version call, drawn from the outline of its profile. Pure."""

from collections.abc import Mapping

import msgspec

from forerun.model import Likely, service_address
from forerun.profiles.outline import CalleeOutline, Outline
from forerun.profiles.profile import SERVICE

MOST_SERVICES = 8

_outline = msgspec.msgpack.Decoder(Outline)


def read_services(packed: bytes) -> list[Likely]:
    """As ``likely_services``, of a packed outline; nothing for one that must be made anew, or cannot be read."""
    try:
        return likely_services(_outline.decode(packed)) if packed else []
    except msgspec.MsgspecError:
        return []


def likely_services(outline: Outline) -> list[Likely]:
    """The services that are called directly, most important first: by likelihood, then by calls; at most ``MOST_SERVICES``.

    ``likelihood`` and ``calls`` are of all executions, weighted as profiles do it; ``executions`` those that were really seen.
    Services that have no address of their own, or one inside of the sandbox, have no path that could be chosen.
    """
    if outline.executions <= 0:
        return []
    found = [
        Likely(
            service=service,
            likelihood=min(1.0, callee.executions / outline.executions),
            calls=max(1.0, callee.calls / callee.executions),
            executions=outline.sampled,
        )
        for service, callee in _services(outline.callees).items()
        if callee.executions > 0
    ]
    found.sort(key=lambda likely: (-likely.likelihood, -likely.calls, likely.service))
    return found[:MOST_SERVICES]


def _services(callees: Mapping[str, CalleeOutline]) -> dict[str, CalleeOutline]:
    found: dict[str, CalleeOutline] = {}
    for callee in callees.values():
        if callee.kind != SERVICE or callee.via:
            continue
        service = callee.address or callee.name
        if service_address(service) is None:
            continue
        before = found.get(service)
        if before is None or before.executions < callee.executions:
            found[service] = callee
    return found
