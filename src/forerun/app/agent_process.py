"""The process of an agent: as the server's, with a watchdog beside it."""

import asyncio
import gc
import logging
import signal
import sys

import uvloop

from forerun.app.agent import Agent, Words, ready_line
from forerun.app.process import EXIT_FAILED, claimed, raise_file_limit, set_up_log
from forerun.app.sockets import listen
from forerun.cluster import Identity, split_address, watch_over
from forerun.errors import ForerunError
from forerun.settings import Settings

log = logging.getLogger("forerun")


def serve_agent(settings: Settings, *, zone: str = "", labels: dict[str, str] | None = None) -> int:
    """Run this machine as a host of a cluster until SIGTERM or SIGINT; the exit status. Says on stderr why it did not start."""
    set_up_log(json_lines=settings.server.json_logs)
    raise_file_limit()
    pulse = watch_over()
    try:
        with claimed(settings.server.data_dir):
            identity = Identity.load(settings.server.data_dir)
            listener = listen(*split_address(settings.cluster.listen))
            words = Words(zone, labels or {})
            agent = Agent(settings, identity, listener, words=words, pulse=pulse)
            uvloop.run(_run(agent, settings.server.drain_s))
    except ForerunError as error:
        log.error("%s", error.message)  # noqa: TRY400 the sentence says what to do, a traceback does not
        return EXIT_FAILED
    return 0


async def _run(agent: Agent, drain_s: float) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await agent.start()
        gc.collect()
        gc.freeze()
        sys.stdout.write(ready_line(agent.info))
        sys.stdout.flush()
        await stop.wait()
        log.info("stopping: calls in flight have %.0f s to finish", drain_s)
    finally:
        await agent.close()
