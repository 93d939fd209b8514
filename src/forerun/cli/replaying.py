"""Replays hosts through policies, by several processes where that pays; a bounded number of hosts is under way."""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

from forerun.aio.clock import SystemClock
from forerun.prediction.replay import CallHost, Clock, Host, Replayable, Result, Run, Score

# Below so many minutes with calls times policies another process costs more than it gains.
WORTH_A_PROCESS = 100_000
UNDER_WAY = 2

Told = Callable[[int], None]
Task = tuple[Replayable, Sequence[str]]


def replay(
    hosts: Sequence[Host | CallHost], names: Sequence[str], *, jobs: int = 0, told: Told
) -> list[Result]:
    """The scores of each policy over all hosts; ``told`` hears how many of ``tasks_of`` are done. ``jobs`` 0: a process per core."""
    tasks = tasks_of(hosts, names)
    jobs = min(jobs or len(os.sched_getaffinity(0)), len(tasks))
    if jobs > 1 and _cells(hosts) * len(names) >= WORTH_A_PROCESS:
        runs = in_processes(tasks, jobs)
    else:
        runs = (run_task(task) for task in tasks)
    return merged(names, runs, told)


def tasks_of(hosts: Sequence[Host | CallHost], names: Sequence[str]) -> list[Task]:
    """One for each host; one for each policy where there is a single host."""
    if len(hosts) == 1:
        return [(hosts[0], [name]) for name in names]
    return [(host, names) for host in hosts]


def run_task(task: Task) -> list[Run]:
    """One of them, in this process."""
    host, names = task
    return host.run(names, clock())


def clock() -> Clock:
    """Seconds that never go back."""
    return SystemClock.monotonic


def merged(names: Sequence[str], runs: Iterable[list[Run]], told: Told) -> list[Result]:
    """Scores added up by policy, in the order of ``names``."""
    scores = {name: Score() for name in names}
    seconds = dict.fromkeys(names, 0.0)
    for done, found in enumerate(runs, 1):
        for run in found:
            scores[run.name].add(run.score)
            seconds[run.name] += run.seconds
        told(done)
    return [score.result(name, seconds[name]) for name, score in scores.items()]


def in_processes(tasks: Iterable[Task], jobs: int) -> Iterator[list[Run]]:
    """What each of them gave, in no order; a bounded number of them is taken at a time."""
    # Not forked: a process that shows progress has threads.
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        waiting: set[Future[list[Run]]] = set()
        try:
            for task in tasks:
                waiting.add(pool.submit(run_task, task))
                if len(waiting) >= UNDER_WAY * jobs:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (each.result() for each in done)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (each.result() for each in done)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _cells(hosts: Sequence[Host | CallHost]) -> int:
    return sum(
        len(host.recording.calls)
        if isinstance(host, CallHost)
        else sum(len(calls.minutes) for calls in host.functions)
        for host in hosts
    )
