"""The web console over the services and stores of this process."""

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import NamedTuple

from forerun.aio import Clock
from forerun.api.caller import Caller
from forerun.api.platform import PlatformRoutes, Query
from forerun.app.services import Services
from forerun.app.state import State
from forerun.console import (
    Console,
    Estate,
    FunctionPages,
    FunctionServices,
    LogPages,
    PulseBoard,
    SignIn,
    Tails,
    Visitor,
)
from forerun.control.log_reading import LogReader
from forerun.control.recorder import Recorder
from forerun.events import Bus
from forerun.storage.functions import FunctionStore


class Sources(NamedTuple):
    """What happens, as it is told: executions by the bus, what was stored of them by the recorder.

    ``platform`` is asked for with each question, as it is made later.
    """

    bus: Bus
    recorder: Recorder
    platform: Callable[[], PlatformRoutes]


def make_console(
    services: Services,
    state: State,
    sources: Sources,
    clock: Clock,
    *,
    about: Mapping[str, object],
) -> Console:
    """The application under ``/console``; ``about`` is told to everybody who is signed in."""
    pulse, tails = PulseBoard(clock), Tails(clock)
    sources.bus.listen("pulse", pulse.consume)
    sources.recorder.listen(tails.written)
    estate, authorizer = services.estate, services.authorizer

    async def ask(visitor: Visitor, name: str, query: Query) -> bytes:
        return (await sources.platform().serve(_caller(visitor), name, query)).body

    async def command(visitor: Visitor, name: str, body: bytes) -> bytes:
        return (await sources.platform().do(_caller(visitor), name, body)).body

    def alive(access_key_id: str) -> str | None:
        identity = services.identities.lookup(access_key_id)
        return identity.principal_arn if identity is not None else None

    return Console(
        Estate(
            functions=FunctionPages(
                FunctionServices(
                    store=FunctionStore(state.db, state.sealer),
                    functions=estate.functions,
                    versions=estate.versions,
                    aliases=estate.aliases,
                    tags=estate.tags,
                ),
                authorizer,
            ),
            logs=LogPages(estate.functions, services.logs, LogReader(state.logs), authorizer),
            pulse=pulse,
            tails=tails,
            platform=ask,
            command=command,
            authorizer=authorizer,
            about={**about, "version": version("forerun")},
        ),
        SignIn(clock, alive),
        clock,
    )


def _caller(visitor: Visitor) -> Caller:
    return Caller(
        account=visitor.account,
        region=visitor.region,
        principal_arn=visitor.principal_arn,
        access_key_id=visitor.access_key_id,
        request_id="console",
        source_ip=visitor.source_ip,
        user_agent=visitor.user_agent,
    )
