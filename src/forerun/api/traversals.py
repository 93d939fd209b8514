"""Running executions with what they may still call, as JSON shows them."""

from collections.abc import Mapping

from forerun.model import Qualified
from forerun.prediction import Ahead, Branch, Traversal


def shown_traversal(each: Traversal) -> Mapping[str, object]:
    """``branches`` are the execution's own calls, ``ahead`` is all that it may lead to, likeliest first.

    ``cause`` is the request id of the execution that it goes back to, ``caller`` that of the one that called it.
    """
    return {
        "function": _name(each.function),
        "request_id": each.request_id,
        "execution": each.execution,
        "cause": each.cause,
        "caller": each.caller,
        "began": each.began,
        "branches": [_branch(branch) for branch in each.branches],
        "ahead": [_ahead(ahead) for ahead in each.ahead],
    }


def _branch(each: Branch) -> Mapping[str, object]:
    return {
        "function": _name(each.function),
        "probability": round(each.probability, 4),
        "seen": each.seen,
        "excluded": each.excluded,
    }


def _ahead(each: Ahead) -> Mapping[str, object]:
    return {
        "function": _name(each.function),
        "probability": round(each.probability, 4),
        "since": each.since,
        "until": each.until,
        "count": round(each.count, 2),
    }


def _name(function: Qualified) -> str:
    return f"{function.name}:{function.qualifier}" if function.qualifier else function.name
