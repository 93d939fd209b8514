"""Functions with a fault in memory, init, errors or in whom they call, and functions that nearly have it."""

import random

from forerun.profiles.findings import Kind

try:
    from imagined import Execution, scenario
except ImportError:  # Imported from outside of this folder.
    from bench.imagined import Execution, scenario

LIMIT_MS = 3000.0

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
def tokens_run_out(run: Execution, chance: random.Random) -> None:
    run.work(80)
    if chance.random() < 0.15:
        run.call("orders:80", "/orders", ms=5, fingerprint=77, status=401)
        run.call("login:80", "/token", ms=5, method="POST")
    run.call("orders:80", "/orders", ms=10, fingerprint=77)


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
def listens_while_it_works(run: Execution, chance: random.Random) -> None:
    run.call("events:80", "/listen", ms=1, ended=0.0, status=0)
    run.work(60)
    if chance.random() < 0.08:
        run.now, run.status = LIMIT_MS, "timeout"


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
