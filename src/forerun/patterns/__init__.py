"""What of an event somebody wants: patterns as EventBridge writes them, and what is made of an event for a target. Pure.

``parse_pattern`` compiles one; ``Pattern.matches`` says whether an event is wanted. ``PatternIndex`` asks many at once.
``Form`` makes a target's input of an event: ``Whole``, ``Part`` (``parse_path``), ``Constant`` or ``Template``.
"""

from forerun.patterns.index import PatternIndex
from forerun.patterns.leaves import InvalidPattern
from forerun.patterns.matching import Pattern, parse_pattern
from forerun.patterns.paths import JsonPath, parse_path
from forerun.patterns.transforming import (
    About,
    Constant,
    Form,
    Part,
    Template,
    UnknownVariable,
    Whole,
    parse_constant,
    parse_template,
)

__all__ = [
    "About",
    "Constant",
    "Form",
    "InvalidPattern",
    "JsonPath",
    "Part",
    "Pattern",
    "PatternIndex",
    "Template",
    "UnknownVariable",
    "Whole",
    "parse_constant",
    "parse_path",
    "parse_pattern",
    "parse_template",
]
