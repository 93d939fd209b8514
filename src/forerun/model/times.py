"""Points in time as documents have them; inside the platform they are epoch seconds (``float``)."""

from datetime import UTC, datetime


def iso_time(moment: float, unit: str = "milliseconds") -> str:
    """Epoch seconds in ISO 8601: ``2026-11-21T06:30:42.000Z``, or to the ``unit`` that ``datetime.isoformat`` knows."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec=unit).removesuffix("+00:00") + "Z"
