"""Who may run now, and when to try again. Pure deciders; time and chance are arguments.

``Admission`` grants a ``Lease`` or raises ``Throttled``; ``Backoff`` gives the delays of asynchronous retries.
"""

from forerun.scheduling.admission import Admission, Lease
from forerun.scheduling.backoff import Backoff

__all__ = ["Admission", "Backoff", "Lease"]
