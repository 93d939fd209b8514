"""What placement needs of a version, drawn from the outline of its profile: which services it calls, what its start takes. Pure."""

from collections.abc import Mapping

import msgspec

from forerun.model import Habits, Likely, service_address
from forerun.profiles.outline import CalleeOutline, Outline
from forerun.profiles.profile import SERVICE

MOST_SERVICES = 8

_outline = msgspec.msgpack.Decoder(Outline)


def read_habits(packed: bytes) -> Habits:
    """As ``habits_of``, of a packed outline; nothing for one that must be made anew, or cannot be read."""
    try:
        return habits_of(_outline.decode(packed)) if packed else Habits()
    except msgspec.MsgspecError:
        return Habits()


def habits_of(outline: Outline) -> Habits:
    """Its ``likely_services``, and the median of what init took where one was seen."""
    services = tuple(likely_services(outline))
    if outline.init.count <= 0:
        return Habits(services=services)
    return Habits(services=services, start_ms=outline.init.p50)


def likely_services(outline: Outline) -> list[Likely]:
    """The services that are called directly, most important first: by likelihood, then by calls; at most ``MOST_SERVICES``.

    ``likelihood`` and ``calls`` are of all executions, weighted as profiles do it; ``executions`` those that were really seen;
    ``carried`` the bytes of one call.
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
            carried=callee.carried / callee.calls if callee.calls > 0 else 0.0,
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
