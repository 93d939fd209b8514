"""What will be called, when, and how surely: forecasts from past and running calls, and their replay on recorded ones.

Pure: arrivals and profiles in, expectations out; time is an argument. Live and in replay the very same policies decide.
"""

from forerun.prediction.expectations import disjoint
from forerun.prediction.forecast import Forecast
from forerun.prediction.policy import Cost, Policy
from forerun.prediction.predictor import Predictor
from forerun.prediction.traversals import Ahead, Branch, Traversal, Traversals

__all__ = [
    "Ahead",
    "Branch",
    "Cost",
    "Forecast",
    "Policy",
    "Predictor",
    "Traversal",
    "Traversals",
    "disjoint",
]
