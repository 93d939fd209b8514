"""What will be called, when, and how surely: forecasts from past and running calls, and their replay on recorded ones.

Pure: arrivals and profiles in, expectations out; time is an argument. Live and in replay the very same policies decide.
"""

from forerun.prediction.expectations import disjoint
from forerun.prediction.forecast import Forecast
from forerun.prediction.imports import ROOTS, SDK, ImportTally, Modules, StartImports, Uses, trusted
from forerun.prediction.packaging import (
    COLLECTION,
    SINGLE,
    DeliveryCosts,
    PackagePart,
    PackagingPlan,
    PlannedFile,
    different_versions,
    plan_package,
)
from forerun.prediction.policy import Cost, Policy
from forerun.prediction.predictor import Predictor
from forerun.prediction.traversals import Ahead, Branch, Traversal, Traversals
from forerun.prediction.zygotes import (
    PlannedZygote,
    ZygoteCosts,
    best_zygote,
    choose_zygotes,
    ending_of,
    zygote_tree,
    zygotes_worth,
)

__all__ = [
    "COLLECTION",
    "ROOTS",
    "SDK",
    "SINGLE",
    "Ahead",
    "Branch",
    "Cost",
    "DeliveryCosts",
    "Forecast",
    "ImportTally",
    "Modules",
    "PackagePart",
    "PackagingPlan",
    "PlannedFile",
    "PlannedZygote",
    "Policy",
    "Predictor",
    "StartImports",
    "Traversal",
    "Traversals",
    "Uses",
    "ZygoteCosts",
    "best_zygote",
    "choose_zygotes",
    "different_versions",
    "disjoint",
    "ending_of",
    "plan_package",
    "trusted",
    "zygote_tree",
    "zygotes_worth",
]
