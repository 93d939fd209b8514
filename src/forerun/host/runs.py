"""What is said of a run: how its sandbox was come by, in words, and what foresight had to do with it. Pure."""

from typing import TYPE_CHECKING

from forerun.host.face import Run
from forerun.host.slots import Slot
from forerun.model import InitFailure, Outcome, StartType

if TYPE_CHECKING:
    # Only its interface is known here; which kind of sandbox it is, is decided elsewhere.
    from forerun.sandbox import Sandbox

PLACEMENT = {
    StartType.WARM: "idle sandbox of this version",
    StartType.PREWARMED: "sandbox of this version prepared ahead",
    StartType.PRELOADED: "sandbox of this version prepared because of a running execution",
    StartType.POOL: "warming pool",
    StartType.ZYGOTE: "forked: pool empty",
    StartType.COLD: "interpreter started: pool empty, no zygote yet",
}
TEMPLATE = "template of this version's sandboxes"
COPIED = "copied from this version's snapshot"
KEPT = "idle sandbox of this version, kept because a call was expected"
FORESIGHT = {
    StartType.WARM: "",
    StartType.PREWARMED: "hit",
    StartType.PRELOADED: "hit",
    StartType.POOL: "miss",
    StartType.ZYGOTE: "miss",
    StartType.COLD: "miss",
}


def run_in(
    slot: "Slot[Sandbox]", sandbox: "Sandbox", outcome: Outcome, start: StartType, idle_mb_s: float
) -> Run:
    """A call that was run in a sandbox; ``idle_mb_s`` as ``Run`` says."""
    run = Run(
        outcome=outcome,
        start_type=start,
        sandbox_id=sandbox.id,
        isolation=sandbox.isolation,
        placement=PLACEMENT[start],
        log_stream=slot.log_stream,
        foresight=FORESIGHT[start],
        idle_mb_s=idle_mb_s,
        provisioned=slot.provisioned,
    )
    if slot.kept:
        slot.kept = False
        run.foresight, run.cause = "hit", slot.cause
        if start is StartType.WARM:
            run.placement = KEPT
    elif run.foresight == "hit":
        run.cause = slot.cause
    return run


def not_loaded(
    failure: InitFailure, start: StartType, slot: "Slot[Sandbox]", isolation: str
) -> Run:
    """The code could not be loaded into the sandbox of a call."""
    return Run(
        outcome=failure,
        start_type=start,
        sandbox_id=slot.sandbox.id if slot.sandbox else "",
        isolation=isolation,
        placement=PLACEMENT[start],
        log_stream=slot.log_stream,
        foresight=FORESIGHT[start],
    )


def not_copied(failure: InitFailure, isolation: str, log_stream: str) -> Run:
    """The code could not be loaded into the template of the version."""
    return Run(
        outcome=failure,
        start_type=StartType.ZYGOTE,
        sandbox_id="",
        isolation=isolation,
        placement=TEMPLATE,
        log_stream=log_stream,
        foresight=FORESIGHT[StartType.ZYGOTE],
    )
