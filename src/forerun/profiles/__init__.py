"""What functions are like, learned from what their executions did: profiles, activity, who reaches whom."""

from forerun.profiles.activity import Activity, spark_lines
from forerun.profiles.comparing import Change, compare
from forerun.profiles.graph import Edge, Graph, Node
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
from forerun.profiles.reach import latest, reach, service_map
from forerun.profiles.services import read_habits

__all__ = [
    "FUNCTION",
    "SELF",
    "SERVICE",
    "Activity",
    "CalleeProfile",
    "Change",
    "Edge",
    "Graph",
    "Likelihood",
    "Memory",
    "Node",
    "PathShare",
    "Profile",
    "Profiler",
    "Quantiles",
    "Relation",
    "Repeats",
    "Run",
    "Series",
    "compare",
    "latest",
    "reach",
    "read_habits",
    "service_map",
    "spark_lines",
]
