"""A fleet as one host: the sums of what its hosts say. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence

from forerun.host import HostStats


def stats_of_all(name: str, said: Sequence[HostStats]) -> HostStats:
    """All hosts together; ``isolation`` is ``mixed`` where they differ."""
    kinds = {each.isolation for each in said}
    return HostStats(
        name=name,
        isolation=next(iter(kinds)) if len(kinds) == 1 else "mixed" if kinds else "",
        memory_mb=sum(each.memory_mb for each in said),
        booked_mb=sum(each.booked_mb for each in said),
        states=_sums(each.states.items() for each in said),
        pools={
            pool: (
                sum(each.pools.get(pool, (0, 0))[0] for each in said),
                sum(each.pools.get(pool, (0, 0))[1] for each in said),
            )
            for pool in sorted({pool for each in said for pool in each.pools})
        },
        waiting=sum(each.waiting for each in said),
        starts=_sums(each.starts.items() for each in said),
        destroyed=sum(each.destroyed for each in said),
        failed=sum(each.failed for each in said),
        held=sum(each.held for each in said),
        prepared=sum(each.prepared for each in said),
        unused=sum(each.unused for each in said),
    )


def _sums(parts: Iterable[Iterable[tuple[str, int]]]) -> dict[str, int]:
    whole: Counter[str] = Counter()
    for part in parts:
        for key, count in part:
            whole[key] += count
    return dict(whole)
