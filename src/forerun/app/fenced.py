"""The state as the holder of the duties writes it: by its fence, and known to all control planes before it is answered."""

from forerun.aio import Clock
from forerun.app.state import State
from forerun.settings import Settings
from forerun.storage import Db
from forerun.storage.gated import Gate, GatedDb
from forerun.storage.leases import FencedDb, Lease
from forerun.storage.settled import Settle, SettledDb


def fenced(
    state: State, lease: Lease, gate: Gate, settle: Settle, *, settings: Settings, clock: Clock
) -> State:
    """Over the same databases. What every control plane writes (events, records, log lines) is not fenced; when the
    ``gate`` is shut nothing is asked of the others any more."""

    def guarded(db: Db) -> Db:
        return GatedDb(FencedDb(db, lease), gate)

    messages = guarded(state.messages)
    made = State(
        SettledDb(guarded(state.db), settle),
        guarded(state.traces_db),
        messages,
        state.sealer,
        clock,
        settings,
    )
    made.told_messages = SettledDb(messages, settle)
    made.keep_files(guarded(state.db), clock, settings)
    made.queue = state.queue
    made.invocations = state.invocations
    made.logs = state.logs
    return made
