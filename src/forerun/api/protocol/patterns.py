"""Regular expressions of the service models (Java's grammar) as Python's.

AWS matches a pattern against the whole value, with ASCII meaning of ``\\d``, ``\\w`` and ``\\s``. Unicode properties have no
exact counterpart in ``re``; they become the nearest class that holds at least as much, so that nothing
AWS accepts is refused. A pattern that cannot be carried over is not checked.
"""

import re

_PROPERTY = re.compile(r"\\[pP]\{[A-Za-z]+\}")
_LEADING_FLAGS = re.compile(r"\(\?([a-z]+)\)")
_SURROGATES = (r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")
_CLASSES = {  # and whether the class is exact (and ASCII)
    r"\p{ASCII}": (r"\x00-\x7f", True),
    r"\p{Print}": (r"\x20-\x7e", True),
    r"\p{Alnum}": ("a-zA-Z0-9", True),
    r"\p{Alpha}": ("a-zA-Z", True),
    r"\p{L}": (r"\w", False),
    r"\p{N}": (r"\w", False),
    r"\p{Nd}": (r"\d", False),
    r"\p{Z}": (r"\s", False),
}


def to_python(pattern: str) -> str | None:
    """A pattern for ``re.search`` that matches whole values, or ``None`` where there is none."""
    text = pattern.replace(*_SURROGATES).replace(r"\w-", r"\w\-")
    ascii_only = True
    for name in set(_PROPERTY.findall(text)):
        if name not in _CLASSES:
            return None
        replacement, narrow = _CLASSES[name]
        if not narrow and "[^" in text:
            return None
        ascii_only = ascii_only and narrow
        text = _replace(text, name, replacement)
    flags = "a" if ascii_only else ""
    leading = _LEADING_FLAGS.match(text)
    if leading:
        flags += leading[1]
        text = text[leading.end() :]
    whole = rf"\A(?{flags}:{text})\Z" if flags else rf"\A(?:{text})\Z"
    try:
        re.compile(whole)
    except re.error:
        return None
    return whole


def _replace(text: str, name: str, replacement: str) -> str:
    """Put a class in the place of a property, with brackets where it stands outside of a class."""
    parts = text.split(name)
    result = parts[0]
    for part in parts[1:]:
        inside = result.count("[") - result.count(r"\[") > result.count("]") - result.count(r"\]")
        result += (replacement if inside else f"[{replacement}]") + part
    return result
