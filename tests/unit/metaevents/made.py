"""Facts and criteria for tests."""

from forerun.metaevents import Fact, State, bind, bindings, fields_of, observe, parse_criteria

STARTED = "execution.started"
ENDED = "execution.ended"


def fact(at, kind=STARTED, function="f", **fields):
    """A fact with all its fields, those that are not given empty."""
    every = {
        name: field.type()
        for name, field in fields_of(kind).items()
        if name not in ("at", "function")
    }
    assert fields.keys() <= every.keys()
    return Fact(kind=kind, account="1", function=function, at=at, fields=every | fields)


def leaf(kind=STARTED, function="f", **more):
    return {"event": kind, "function": function, **more}


class Judged:
    """Criteria with their state; ``see`` a fact, at its own time unless another is given."""

    def __init__(self, when, since=0.0):
        self.criteria = parse_criteria(when)
        self.state = State(since=since)

    def see(self, seen, now=None):
        return observe(
            self.criteria,
            self.state,
            seen,
            lambda: bind(seen.kind, bindings(seen)),
            seen.at if now is None else now,
        )
