"""Profiles as they would be learned, made by hand: one with nothing to find, and what is changed of it."""

from typing import Any

from forerun.profiles import (
    FUNCTION,
    SERVICE,
    CalleeProfile,
    Likelihood,
    Memory,
    Profile,
    Quantiles,
    Relation,
)


def spread(mean: float, count: float = 1000, tail: float = 1.5) -> Quantiles:
    """A distribution around ``mean`` whose highest are ``tail`` times it."""
    return Quantiles(
        count=count,
        mean=mean,
        min=mean / 2,
        p50=mean,
        p90=mean * tail,
        p95=mean * tail,
        p99=mean * tail,
        max=mean * tail,
    )


def profile(**changed: Any) -> Profile:
    """1,000 executions, all watched, of 200 ms, in 256 MB of which 150 are used."""
    sound: dict[str, Any] = {
        "account": "000000000001",
        "function": "A",
        "version": "1",
        "since": 1000.0,
        "until": 5000.0,
        "sampled": 1000,
        "executions": 1000.0,
        "invocations": 1000,
        "per_hour": 900.0,
        "start_types": {"warm": 990.0, "pool": 10.0},
        "init_ms": spread(20.0, 10),
        "duration_ms": spread(200.0),
        "cpu_ms": spread(20.0),
        "cpu_share": 0.1,
        "memory": Memory(configured_mb=256, used_mb=spread(120.0, tail=1.25)),
    }
    return Profile(**{**sound, **changed})


def callee(name: str = "B", **changed: Any) -> CalleeProfile:
    """A callee of half of the executions, called once by each of those, 20 ms each time."""
    sound: dict[str, Any] = {
        "kind": FUNCTION if name.isalpha() else SERVICE,
        "name": name,
        "channels": {"call": 500.0},
        "executions": 500.0,
        "sampled": 500,
        "likelihood": Likelihood(value=0.5, low=0.47, high=0.53),
        "calls": 500.0,
        "calls_per_execution": spread(1.0, 500, 1.0),
        "position": 1.0,
        "delay_ms": spread(5.0, 500),
        "latency_ms": spread(20.0, 500),
        "error_rate": Likelihood(value=0.0, low=0.0, high=0.008),
        "busy_share": 0.05,
        "critical_share": 0.05,
    }
    return CalleeProfile(**{**sound, **changed})


def always(name: str = "B", **changed: Any) -> CalleeProfile:
    """A callee of every execution."""
    return callee(
        name,
        **{
            "executions": 1000.0,
            "sampled": 1000,
            "calls": 1000.0,
            "likelihood": Likelihood(value=1.0, low=0.996, high=1.0),
            **changed,
        },
    )


def relation(first: CalleeProfile, second: CalleeProfile, **changed: Any) -> Relation:
    """Always the one right before the other, in all executions."""
    sound: dict[str, Any] = {
        "first": first.key,
        "second": second.key,
        "executions": 1000.0,
        "sampled": 1000,
        "before": 1.0,
        "order": "before",
        "gap_ms": spread(0.5),
        "saving_ms": 60.0,
    }
    return Relation(**{**sound, **changed})
