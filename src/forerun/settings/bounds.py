"""What a number may be."""

from forerun.errors import InvalidInput


def in_range(name: str, value: float, low: float, high: float) -> None:
    """Raise ``InvalidInput`` naming the setting and its limits when it is outside of them."""
    if not low <= value <= high:
        raise InvalidInput(f"{name} must be from {low:g} to {high:g}, not {value:g}")
