"""What functions are like, learned from what their executions did: profiles, activity, who reaches whom."""

from forerun.profiles.activity import Activity, spark_lines
from forerun.profiles.minute import Series
from forerun.profiles.profile import (
    FUNCTION,
    SELF,
    SERVICE,
    CalleeProfile,
    Likelihood,
    Memory,
    PathShare,
    Profile,
    Quantiles,
    Relation,
    Repeats,
    Run,
)
from forerun.profiles.profiler import Profiler

__all__ = [
    "FUNCTION",
    "SELF",
    "SERVICE",
    "Activity",
    "CalleeProfile",
    "Likelihood",
    "Memory",
    "PathShare",
    "Profile",
    "Profiler",
    "Quantiles",
    "Relation",
    "Repeats",
    "Run",
    "Series",
    "spark_lines",
]
