"""What is kept ready ahead of calls: foresight, provisioned concurrency, and what scales it."""

from collections.abc import Awaitable, Callable, Sequence

from forerun.control.ahead.foresight import Foresight
from forerun.control.estate import Estate
from forerun.host import Host
from forerun.model import Expectation, Qualified
from forerun.scheduling import Admission


async def keep_ready(
    foresight: Foresight, estate: Estate, host: Host, admission: Admission
) -> Callable[[], Awaitable[None]]:
    """Look ahead and hold what is configured from now on; what is returned ends that, and leaves held what is held."""

    def foretell(function: Qualified, now: float) -> Sequence[Expectation]:
        found = foresight.policy.explain(function, now) if foresight.active else None
        return found.windows if found is not None else ()

    async def close() -> None:
        await estate.autoscaling.scaler.close()
        await estate.provisioning.close()
        await foresight.close()

    foresight.start()
    await estate.provisioning.start(foresight.require, host.standing, admission.provision)
    await estate.autoscaling.scaler.start(foretell)
    return close
