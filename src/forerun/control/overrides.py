"""Events that are run with another memory or timeout than their function has: dead letters that were redriven so. Pure."""

import msgspec

from forerun.control.registry import Resolved
from forerun.storage import QueuedEvent


def as_asked(event: QueuedEvent, resolved: Resolved) -> Resolved:
    """The function with the memory and timeout that this event is to be run with, in sandboxes of its own."""
    if not event.memory_mb and not event.timeout_s:
        return resolved
    function = resolved.function
    memory_mb = event.memory_mb or function.memory_mb
    timeout_s = event.timeout_s or function.timeout_s
    changed = msgspec.structs.replace(
        function,
        memory_mb=memory_mb,
        timeout_s=timeout_s,
        sandbox_key=f"{function.sandbox_key}.{memory_mb}mb.{timeout_s}s",
        snap_start=False,
    )
    return msgspec.structs.replace(resolved, function=changed)


def other_than_usual(event: QueuedEvent) -> str:
    """What is changed, in words."""
    changes = []
    if event.memory_mb:
        changes.append(f"memory set to {event.memory_mb} MB")
    if event.timeout_s:
        changes.append(f"timeout set to {event.timeout_s} s")
    return f"{' and '.join(changes)} for this run"
