"""Functions whose faults are known, as the events their executions would cause: with a fault, and nearly with it.

A scenario draws executions of function A with chance's help; its label says which kinds of findings are true of it. What
is ``also`` true is no mistake when it is found, and none when it is not.
"""

import random
from collections.abc import Callable, Iterator

from forerun.events import ExecutionEnded
from forerun.profiles.findings import Kind

try:
    from imagined import BEGIN, PLATFORM, Execution, Play, Scenario
except ImportError:  # Imported from outside of this folder.
    from bench.imagined import BEGIN, PLATFORM, Execution, Play, Scenario

__all__ = ["PLATFORM", "SCENARIOS", "Scenario", "events_of"]

LIMIT_MS = 3000.0

SCENARIOS: list[Scenario] = []


def scenario(*true: Kind, also: tuple[Kind, ...] = (), **others: Play) -> Callable[[Play], Play]:
    """Add a scenario: the kinds that are true of it, and what the functions do that it calls."""

    def add(play: Play) -> Play:
        made = Scenario(
            play.__name__, play, frozenset(true), frozenset(also), tuple(others.items())
        )
        SCENARIOS.append(made)
        return play

    return add


def events_of(one: Scenario, seed: int, executions: int) -> Iterator[ExecutionEnded]:
    """What the platform would tell of so many executions of A, and of the functions it calls."""
    chance = random.Random(f"{one.name}/{seed}")
    at = BEGIN
    for number in range(executions):
        at += chance.expovariate(0.2)
        for name, play in (*one.others, ("A", one.play)):
            execution = Execution(chance, at)
            play(execution, chance)
            yield execution.event(name, number)


# One after the other


@scenario(Kind.SEQUENTIAL)
def independent_in_constant_order(run: Execution, _: random.Random) -> None:
    run.work(20)
    run.call("users:80", "/users/*", ms=50)
    run.call("prices:80", "/prices", ms=60)
    run.work(20)


@scenario(Kind.SEQUENTIAL)
def independent_in_any_order(run: Execution, chance: random.Random) -> None:
    run.work(20)
    for host in chance.sample(["users:80", "prices:80", "news:80"], 3):
        run.call(host, ms=40)
    run.work(20)


@scenario(Kind.SEQUENTIAL)
def independent_and_sometimes_alone(run: Execution, chance: random.Random) -> None:
    run.work(20)
    if chance.random() < 0.6:
        run.call("users:80", "/users/*", ms=60)
    run.call("prices:80", "/prices", ms=60)
    run.work(30)


@scenario()
def the_second_needs_the_first(run: Execution, _: random.Random) -> None:
    run.work(20)
    run.call("users:80", "/users/*", ms=50)
    run.call("orders:80", "/orders/*", ms=60)
    run.work(20)


@scenario()
def already_at_once(run: Execution, _: random.Random) -> None:
    run.work(20)
    run.at_once(("users:80", "/users/*", 50), ("prices:80", "/prices", 50))
    run.work(30)


@scenario()
def work_lies_between(run: Execution, _: random.Random) -> None:
    run.call("users:80", "/users/*", ms=40)
    run.work(60)
    run.call("orders:80", "/orders/*", ms=40)


@scenario()
def too_quick_to_matter(run: Execution, _: random.Random) -> None:
    run.work(100)
    run.call("users:80", ms=2)
    run.call("prices:80", ms=2)


# The same again


@scenario(Kind.REPEATED, also=(Kind.WAITING,))
def the_same_again(run: Execution, chance: random.Random) -> None:
    run.work(40)
    for _ in range(2 if chance.random() < 0.5 else 1):
        run.call("config:80", "/config", ms=30, fingerprint=77)
    run.work(20)


@scenario()
def polled_until_it_is_ready(run: Execution, chance: random.Random) -> None:
    run.work(300)
    for _ in range(chance.randrange(1, 4)):
        run.call("jobs:80", "/jobs/*", ms=20, fingerprint=77)
        run.pause(500)


@scenario()
def tried_again_after_an_error(run: Execution, chance: random.Random) -> None:
    run.work(60)
    if chance.random() < 0.04:
        run.call("users:80", ms=20, fingerprint=77, status=503)
    run.call("users:80", ms=20, fingerprint=77)


@scenario()
def received_from_a_queue(run: Execution, _: random.Random) -> None:
    run.work(80)
    for _ in range(3):
        run.call("sqs.local:80", ms=10, fingerprint=77, service="sqs", operation="ReceiveMessage")


# Loops


@scenario(Kind.LOOP, also=(Kind.WAITING,))
def one_call_for_each_item(run: Execution, chance: random.Random) -> None:
    run.work(30)
    for _ in range(chance.randrange(4, 15)):
        run.call("items:80", "/items/*", ms=10)


@scenario(Kind.LOOP, also=(Kind.WAITING,))
def one_execution_for_each_item(run: Execution, chance: random.Random) -> None:
    run.work(30)
    for _ in range(chance.randrange(4, 15)):
        run.invoke("B", ms=10)


@scenario()
def each_from_another_host(run: Execution, chance: random.Random) -> None:
    run.work(60)
    for number in range(chance.randrange(4, 8)):
        run.call(f"shard{number}:80", "/items", ms=5)
        run.work(8)


@scenario(also=(Kind.WAITING,))
def all_items_at_once(run: Execution, chance: random.Random) -> None:
    run.work(60)
    run.at_once(*(("items:80", "/items/*", 20.0) for _ in range(chance.randrange(4, 15))))


@scenario(also=(Kind.WAITING,))
def page_after_page(run: Execution, chance: random.Random) -> None:
    run.work(40)
    for _ in range(chance.randrange(3, 8)):
        run.call("list:80", "/items", ms=15)


@scenario()
def three_different_things(run: Execution, _: random.Random) -> None:
    run.work(60)
    for path in ("/a", "/b", "/c"):
        run.call("all:80", path, ms=10)


# Waiting


@scenario(Kind.WAITING)
def waits_most_of_its_time(run: Execution, _: random.Random) -> None:
    run.work(30)
    run.call("slow:80", ms=100)


@scenario()
def waits_a_third_of_its_time(run: Execution, _: random.Random) -> None:
    run.work(100)
    run.call("slow:80", ms=50)


@scenario()
def waits_only_briefly(run: Execution, _: random.Random) -> None:
    run.work(10)
    run.call("slow:80", ms=25)


# Memory and processor


@scenario(Kind.MEMORY_LARGE)
def much_memory_for_little(run: Execution, chance: random.Random) -> None:
    run.memory_mb, run.used_mb = 1024, chance.randrange(60, 120)
    run.work(5)
    run.call("users:80", ms=30)


@scenario()
def memory_for_rare_inputs(run: Execution, chance: random.Random) -> None:
    run.memory_mb = 1024
    run.used_mb = 800 if chance.random() < 0.05 else chance.randrange(60, 120)
    run.work(30)


@scenario()
def memory_for_a_whole_processor(run: Execution, chance: random.Random) -> None:
    run.memory_mb, run.used_mb = 1769, chance.randrange(60, 120)
    run.work(300)


@scenario(Kind.MEMORY_SMALL)
def memory_nearly_used_up(run: Execution, chance: random.Random) -> None:
    run.memory_mb, run.used_mb = 256, chance.randrange(238, 254)
    run.work(30)


@scenario(Kind.MEMORY_SMALL)
def computes_long_with_little_memory(run: Execution, chance: random.Random) -> None:
    run.memory_mb, run.used_mb = 256, chance.randrange(140, 180)
    run.work(900)


@scenario(Kind.MEMORY_SMALL)
def is_held_to_its_share(run: Execution, chance: random.Random) -> None:
    run.memory_mb, run.used_mb = 256, chance.randrange(140, 180)
    run.work(100)
    run.pause(run.cpu_ms * 5.5)


@scenario()
def sleeps(run: Execution, chance: random.Random) -> None:
    run.memory_mb, run.used_mb = 256, chance.randrange(140, 180)
    run.work(60)
    run.pause(1000)


@scenario()
def memory_well_used(run: Execution, chance: random.Random) -> None:
    run.memory_mb, run.used_mb = 512, chance.randrange(280, 380)
    run.work(30)


# Init


@scenario(Kind.INIT)
def slow_init_met_often(run: Execution, chance: random.Random) -> None:
    run.init_ms = run.about(800) if chance.random() < 0.15 else None
    run.work(40)


@scenario()
def slow_init_met_hardly_ever(run: Execution, chance: random.Random) -> None:
    run.init_ms = run.about(800) if chance.random() < 0.003 else None
    run.work(40)


@scenario()
def quick_init_met_often(run: Execution, chance: random.Random) -> None:
    run.init_ms = run.about(30) if chance.random() < 0.5 else None
    run.work(40)


# Errors


@scenario(Kind.RETRIES, Kind.ERRORS, also=(Kind.WAITING,))
def storm_of_retries(run: Execution, chance: random.Random) -> None:
    run.work(40)
    for _ in range(4):
        failed = chance.random() < 0.5
        run.call("weak:80", ms=15, fingerprint=77, status=503 if failed else 200)
        if not failed:
            break


@scenario(Kind.ERRORS)
def one_callee_fails(run: Execution, chance: random.Random) -> None:
    run.work(80)
    run.call("good:80", ms=10)
    run.work(20)
    run.call("bad:80", ms=10, status=500 if chance.random() < 0.15 else 200)


@scenario()
def not_there_is_an_answer(run: Execution, chance: random.Random) -> None:
    run.work(80)
    run.call("cache:80", "/keys/*", ms=10, status=404 if chance.random() < 0.6 else 200)


@scenario()
def everything_fails_now_and_then(run: Execution, chance: random.Random) -> None:
    for host in ("one:80", "two:80", "three:80"):
        run.work(30)
        run.call(host, ms=10, status=500 if chance.random() < 0.08 else 200)


@scenario(Kind.TIMEOUTS, also=(Kind.WAITING,))
def runs_out_of_time_waiting(run: Execution, chance: random.Random) -> None:
    run.work(40)
    if chance.random() < 0.08:
        run.call("stuck:80", ms=1, ended=0.0, status=0)
        run.now, run.status = LIMIT_MS, "timeout"
        return
    run.call("stuck:80", ms=20)


@scenario()
def runs_out_of_time_computing(run: Execution, chance: random.Random) -> None:
    run.call("users:80", ms=20)
    run.work(40)
    if chance.random() < 0.08:
        run.now, run.status = LIMIT_MS, "timeout"


# Who calls whom


def _calls_back(run: Execution, chance: random.Random) -> None:
    run.work(60)
    if chance.random() < 0.3:
        run.invoke("A", ms=15)


def _only_works(run: Execution, _: random.Random) -> None:
    run.work(60)


def _is_often_cold(run: Execution, chance: random.Random) -> None:
    run.init_ms = run.about(200) if chance.random() < 0.2 else None
    run.work(10)


@scenario(Kind.CYCLE, also=(Kind.WAITING,), B=_calls_back)
def calls_and_is_called_back(run: Execution, chance: random.Random) -> None:
    run.work(60)
    if chance.random() < 0.5:
        run.invoke("B", ms=20)


@scenario(B=_only_works)
def calls_a_function_that_calls_nobody(run: Execution, chance: random.Random) -> None:
    run.work(60)
    if chance.random() < 0.5:
        run.invoke("B", ms=20)


@scenario(Kind.ALWAYS, also=(Kind.WAITING, Kind.INIT), B=_is_often_cold)
def always_calls_another(run: Execution, chance: random.Random) -> None:
    run.work(60)
    run.invoke("B", ms=220 if chance.random() < 0.2 else 14)


@scenario(also=(Kind.INIT,), B=_is_often_cold)
def often_calls_another(run: Execution, chance: random.Random) -> None:
    run.work(60)
    if chance.random() < 0.7:
        run.invoke("B", ms=60 if chance.random() < 0.2 else 14)


# Nothing at all


@scenario()
def noise(run: Execution, chance: random.Random) -> None:
    run.work(run.about(60, 0.8))
    for host in ("one:80", "two:80", "three:80", "four:80"):
        if chance.random() < 0.4:
            run.call(host, f"/{chance.randrange(3)}", ms=run.about(8, 0.8))
            run.work(run.about(25, 0.5))
    run.used_mb = chance.randrange(80, 160)
    run.init_ms = run.about(30) if chance.random() < 0.02 else None
