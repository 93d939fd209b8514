"""EventBridge, as AWS's clients ask for it: ``BusRoutes`` for buses and events, ``RuleRoutes`` for rules and targets;
``rule_rows`` for whoever lists sources.
"""

from forerun.api.eventbridge.buses import BusRoutes
from forerun.api.eventbridge.rows import rule_rows
from forerun.api.eventbridge.rules import RuleRoutes

__all__ = ["BusRoutes", "RuleRoutes", "rule_rows"]
