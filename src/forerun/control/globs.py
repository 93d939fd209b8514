"""Wildcards as regular expressions that never backtrack over a ``*``: a pattern of many stars costs as little as one."""

import re
from collections.abc import Iterable


class Star:
    """Any number of characters, in the parts given to ``join_glob``."""


STAR = Star()


def split_glob(text: str) -> list[str | Star]:
    """``text`` as parts for ``join_glob``: ``*`` is any characters, ``?`` is one."""
    return [
        STAR if piece.startswith("*") else "." if piece == "?" else re.escape(piece)
        for piece in re.split(r"(\*+|\?)", text)
        if piece
    ]


def join_glob(parts: Iterable[str | Star]) -> str:
    """A regular expression for ``fullmatch`` with ``re.DOTALL``; strings among ``parts`` are expressions without repeats.

    After a star the first place where the next fixed part fits is as good as any, so it is taken for good (an atomic
    group); only what follows the last star is tied to the end.
    """
    runs: list[str] = [""]
    for part in parts:
        if not isinstance(part, Star):
            runs[-1] += part
        elif len(runs) == 1 or runs[-1]:
            runs.append("")
    if len(runs) == 1:
        return f"(?:{runs[0]})"
    first, *middle, last = runs
    return first + "".join(f"(?>.*?{run})" for run in middle) + f".*{last}"
