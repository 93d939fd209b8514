"""Metaevents at work: rules are kept, asked about what the bus tells and the clock says, and run their jobs.

``Metaevents`` is what owners handle; ``Watcher`` judges and raises, ``Notebook`` keeps what rules remember. Pure decisions
are those of ``forerun.metaevents``. A job is run at least once for each time its criteria come to hold, unless a bound
refuses it, which its rule shows.
"""

from forerun.control.metaevents.notebook import Notebook
from forerun.control.metaevents.rules import Rule
from forerun.control.metaevents.service import Metaevents
from forerun.control.metaevents.surroundings import Surroundings
from forerun.control.metaevents.trying import try_criteria
from forerun.control.metaevents.views import detail, summary
from forerun.control.metaevents.watcher import Watcher

__all__ = [
    "Metaevents",
    "Notebook",
    "Rule",
    "Surroundings",
    "Watcher",
    "detail",
    "summary",
    "try_criteria",
]
