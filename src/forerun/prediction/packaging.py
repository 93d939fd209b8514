"""How a package is delivered to a host: as one file, or as a collection of objects that others need, too. Pure.

A part is what a package holds of one distribution. A host that has an object already need not fetch it again, and each
file that is fetched costs a moment of its own: one file means the fewest transfers, many files the most that is shared.
A part that enough other functions use gets a file of its own when what is expected to be spared outweighs its moment;
all others stay together with the function's own files.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

SINGLE: Literal["single"] = "single"
COLLECTION: Literal["collection"] = "collection"
# What is there stays until it is that much worse, so that a plan does not flip to and fro.
PATIENCE = 0.8

Form = Literal["single", "collection"]


class PackagePart(msgspec.Struct, frozen=True, kw_only=True):
    """One distribution in a package: its files and bytes unpacked, and how many other functions use the same object.

    ``here``: the host has it now.
    """

    object: str
    name: str
    version: str
    files: int
    size: int
    others: int
    here: bool = False


class DeliveryCosts(msgspec.Struct, frozen=True, kw_only=True):
    """What delivering takes: bytes a second, seconds for each file; how likely one other function that uses an object
    has brought it to the host; and how many there must be."""

    bytes_per_s: float = 200e6
    file_s: float = 0.005
    cached_by_one: float = 0.5
    least_others: int = 1


class PlannedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file that is delivered. ``object`` is empty for what is the function's own; ``cached`` from 0 to 1."""

    object: str
    name: str
    version: str
    files: int
    size: int
    others: int
    cached: float
    here: bool


class PackagingPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The choice with its reason; times are expected seconds for bringing the package to a host.

    ``use_rate`` is the share of the shareable bytes that is expected to be on a host already, ``threshold`` the one
    from which on a collection is faster, by the number of its files.
    """

    form: Form
    files: tuple[PlannedFile, ...]
    expected_s: float
    single_s: float
    collection_s: float
    use_rate: float
    threshold: float
    cached_share: float
    reason: str

    @property
    def objects(self) -> frozenset[str]:
        """What gets a file of its own."""
        return frozenset(each.object for each in self.files if each.object)


def plan_package(
    parts: Sequence[PackagePart],
    *,
    files: int,
    size: int,
    costs: DeliveryCosts,
    now: Form = SINGLE,
) -> PackagingPlan:
    """Choose for a package of so many files and bytes unpacked; ``now`` is the form it is in."""
    patience = PATIENCE if now == COLLECTION else 1.0
    shared = _worth_sharing(parts, costs, patience)
    candidates = shared or [part for part in parts if part.size / costs.bytes_per_s > costs.file_s]
    use_rate, threshold = _rates(candidates, costs)
    form: Form
    single_s = size / costs.bytes_per_s + costs.file_s
    collection_s = _collection_s(candidates, size, costs)
    if shared and use_rate >= threshold * patience:
        chosen = _files(shared, files, size, costs)
        reason = (
            f"{use_rate:.0%} of what can be shared is expected to be on a host already; {len(chosen)} files are faster "
            f"than one from {threshold:.1%} on"
        )
        form, expected = COLLECTION, collection_s
    else:
        chosen = _files((), files, size, costs)
        reason, form, expected = _why_single(parts, candidates, threshold), SINGLE, single_s
    cached = sum(each.cached * each.size for each in chosen)
    return PackagingPlan(
        form=form,
        files=chosen,
        expected_s=expected,
        single_s=single_s,
        collection_s=collection_s,
        use_rate=use_rate,
        threshold=threshold,
        cached_share=cached / size if size else 0.0,
        reason=reason,
    )


def different_versions(
    packages: Sequence[tuple[str, Sequence[tuple[str, str]]]],
) -> list[str]:
    """What packages (name, and name and version of each part) bring in several versions; the first one is what is imported."""
    first: dict[str, tuple[str, str]] = {}
    found = []
    for package, parts in packages:
        for name, version in parts:
            where, had = first.setdefault(name, (package, version))
            if had != version:
                found.append(f"{name} {version} of {package} is hidden by {name} {had} of {where}")
    return found


def _cached(part: PackagePart, costs: DeliveryCosts) -> float:
    return float(1 - (1 - costs.cached_by_one) ** part.others)


def _worth_sharing(
    parts: Sequence[PackagePart], costs: DeliveryCosts, patience: float
) -> list[PackagePart]:
    """Those whose expected saving outweighs a file of their own, the most worth first."""
    gains = {
        part: _cached(part, costs) * part.size / costs.bytes_per_s - costs.file_s * patience
        for part in parts
        if part.others >= costs.least_others
    }
    return sorted(
        (part for part, gain in gains.items() if gain > 0),
        key=lambda part: (-gains[part], part.object),
    )


def _rates(parts: Sequence[PackagePart], costs: DeliveryCosts) -> tuple[float, float]:
    size = sum(part.size for part in parts)
    if not size:
        return 0.0, 1.0
    use_rate = sum(_cached(part, costs) * part.size for part in parts) / size
    return use_rate, min(1.0, len(parts) * costs.file_s * costs.bytes_per_s / size)


def _collection_s(parts: Sequence[PackagePart], size: int, costs: DeliveryCosts) -> float:
    uncached = size - sum(_cached(part, costs) * part.size for part in parts)
    return uncached / costs.bytes_per_s + costs.file_s * (len(parts) + 1)


def _files(
    shared: Sequence[PackagePart], files: int, size: int, costs: DeliveryCosts
) -> tuple[PlannedFile, ...]:
    own = PlannedFile(
        object="",
        name="",
        version="",
        files=files - sum(part.files for part in shared),
        size=size - sum(part.size for part in shared),
        others=0,
        cached=0.0,
        here=False,
    )
    return (
        *(
            PlannedFile(
                object=part.object,
                name=part.name,
                version=part.version,
                files=part.files,
                size=part.size,
                others=part.others,
                cached=_cached(part, costs),
                here=part.here,
            )
            for part in shared
        ),
        own,
    )


def _why_single(
    parts: Sequence[PackagePart], candidates: Sequence[PackagePart], threshold: float
) -> str:
    if not parts:
        return "it holds no distribution that others could use"
    if not candidates:
        return "what it holds of distributions is too small for files of their own"
    most = max(part.others for part in candidates)
    if not most:
        return f"no other function uses what it holds; {len(candidates) + 1} files are faster than one from {threshold:.1%} on"
    return f"at most {most} other functions use what it holds, which spares less than further files cost"
