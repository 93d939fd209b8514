"""What of an event somebody wants: patterns as EventBridge writes them, and what is made of an event for a target. Pure.

``parse_pattern`` compiles one; ``Pattern.matches`` says whether an event is wanted. ``PatternIndex`` asks many at once.
"""

from forerun.patterns.index import PatternIndex
from forerun.patterns.leaves import InvalidPattern
from forerun.patterns.matching import Pattern, parse_pattern

__all__ = ["InvalidPattern", "Pattern", "PatternIndex", "parse_pattern"]
