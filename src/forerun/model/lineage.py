"""Which functions' executions led to a request, and how often each: by that a function that causes itself is found.

A lineage is text, ``KEY:COUNT|KEY:COUNT``, one pair for each function; a key is a digest of account and name. It goes with
an ``Origin`` wherever that goes: into queued events, messages, the sources' own rows. Only the platform writes it.
"""

import hashlib
from functools import lru_cache

MOST_FUNCTIONS = 64
"""A lineage of more functions forgets one that occurs least."""

RECURSION_LIMIT = 16
"""So often a function may have run in a chain before it is not run in it again; AWS's."""


def extended(lineage: str, account: str, function: str) -> str:
    """The lineage of what an execution of ``function`` causes, when ``lineage`` led to that execution."""
    counts = _read(lineage)
    key = _key(account, function)
    count = counts.pop(key, 0) + 1
    if len(counts) >= MOST_FUNCTIONS:
        del counts[min(counts, key=counts.__getitem__)]
    counts[key] = count
    return "|".join(f"{each}:{counts[each]}" for each in counts)


def occurrences(lineage: str, account: str, function: str) -> int:
    """How many executions of ``function`` are in the chain."""
    return _read(lineage).get(_key(account, function), 0) if lineage else 0


@lru_cache(maxsize=4096)
def _key(account: str, function: str) -> str:
    return hashlib.blake2s(f"{account}/{function}".encode(), digest_size=8).hexdigest()


def _read(lineage: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for pair in lineage.split("|") if lineage else ():
        key, _, count = pair.partition(":")
        if key and count.isdecimal() and len(count) < 10:
            counts[key] = int(count)
    return counts
