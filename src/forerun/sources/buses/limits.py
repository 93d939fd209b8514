"""How much of everything there may be, and the errors for more."""

from collections.abc import Mapping

from forerun.errors import ForerunError, InvalidInput

TAGS = 50
RULES = 2000
TARGETS = 5


class LimitExceeded(ForerunError):
    """The requested resource exceeds the maximum number allowed."""


class ManagedRule(ForerunError):
    """The rule was made by the platform and is changed by force only."""


def check_tags(tags: Mapping[str, str]) -> None:
    """``InvalidInput`` when there are too many or one is reserved; their lengths were looked at before."""
    if len(tags) > TAGS:
        raise InvalidInput(f"A resource has at most {TAGS} tags")
    for key in tags:
        if key.lower().startswith("aws:"):
            raise InvalidInput(f"The tag key {key} is reserved: it begins with aws:")
