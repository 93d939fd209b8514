"""Recorded calls run through policies in virtual time, and what that would have cost: the simulator. Pure.

Lines and histories in, scores out; who calls opens the files. What is replayed is the code that acts: ``Policy``.
"""

from forerun.prediction.predictor import PRICE
from forerun.prediction.replay.azure import MinuteReader, Schema, Sizes, read_calls, schema_of
from forerun.prediction.replay.calls import CallReplay, Held, Holding, Plain
from forerun.prediction.replay.events import CallHost, MakeHolding
from forerun.prediction.replay.hosts import Clock, Host, Replayable, Run, host_of, spread
from forerun.prediction.replay.policies import (
    CURVE_MINUTES,
    CURVE_PRICES,
    DEFAULT,
    Setting,
    check_policy,
    keep_s,
    make_policy,
    own_price,
)
from forerun.prediction.replay.recorded import (
    USUAL_MEMORY_MB,
    USUAL_START_MS,
    About,
    ByCalls,
    ByMinutes,
    Call,
    Calls,
    History,
    Sample,
    from_history,
)
from forerun.prediction.replay.score import Result, Score
from forerun.prediction.replay.tables import Source

__all__ = [
    "CURVE_MINUTES",
    "CURVE_PRICES",
    "DEFAULT",
    "PRICE",
    "USUAL_MEMORY_MB",
    "USUAL_START_MS",
    "About",
    "ByCalls",
    "ByMinutes",
    "Call",
    "CallHost",
    "CallReplay",
    "Calls",
    "Clock",
    "Held",
    "History",
    "Holding",
    "Host",
    "MakeHolding",
    "MinuteReader",
    "Plain",
    "Replayable",
    "Result",
    "Run",
    "Sample",
    "Schema",
    "Score",
    "Setting",
    "Sizes",
    "Source",
    "check_policy",
    "from_history",
    "host_of",
    "keep_s",
    "make_policy",
    "own_price",
    "read_calls",
    "schema_of",
    "spread",
]
