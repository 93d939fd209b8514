"""How what shall be held of something is divided among hosts. Pure."""

from collections.abc import Mapping, Sequence


def by_size(total: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """``total`` in proportion to the sizes, which are not negative; what is left over goes to the largest remainders, by name."""
    whole = sum(sizes.values())
    if whole <= 0 or total <= 0:
        return dict.fromkeys(sizes, 0)
    parts = {name: total * size // whole for name, size in sizes.items()}
    left = total - sum(parts.values())
    order = sorted(sizes, key=lambda name: (-(total * sizes[name] % whole), name))
    for name in order[:left]:
        parts[name] += 1
    return parts


def among(
    total: int, groups: Sequence[Sequence[str]], held: Mapping[str, int], room: Mapping[str, int]
) -> dict[str, int]:
    """``total`` among hosts in the order of their ``groups``, evenly within one, at most as many as there is ``room``.

    What is ``held`` already stays, from the front, so that nothing is made anew without need. What has room nowhere goes to the first
    group all the same, which makes it as soon as it can. Hosts that get nothing are not in it.
    """
    given: dict[str, int] = {}
    left = total
    for name in (name for group in groups for name in group):
        if kept := min(left, held.get(name, 0)):
            given[name] = kept
            left -= kept
    for group in groups:
        left = _evenly(left, group, given, room)
    if left and groups:
        _evenly(left, groups[0], given, dict.fromkeys(groups[0], total + 1))
    return given


def _evenly(left: int, group: Sequence[str], given: dict[str, int], room: Mapping[str, int]) -> int:
    """Give to the one that has least, again and again; how many are left when none has room."""
    while left:
        open_to = [name for name in group if given.get(name, 0) < room.get(name, 0)]
        if not open_to:
            break
        least = min(open_to, key=lambda name: given.get(name, 0))
        given[least] = given.get(least, 0) + 1
        left -= 1
    return left
