"""Executions that happen no more often than wanted: by identifiers, and by what they depend on.

What it promises: of one execution identifier no more executions of a function succeed than wanted until it expires, those that run
counted; who asks meanwhile waits and gets the result. A success is on disk before it is answered or acknowledged; what was running
when the server died may run again. Where dependencies are declared, an execution is declined when neither code, input nor
any of them is other than before the last success; what cannot be told for certain is executed. What asks for neither pays nothing.
"""

from forerun.control.once.dependencies import Dependencies, Dependency, read_specs, shown_spec
from forerun.control.once.guard import Once
from forerun.control.once.key import LONGEST_KEY, check_key, given_id
from forerun.control.once.kinds import FolderState, ObjectState, QueueState
from forerun.control.once.line import Line
from forerun.control.once.service import OnceConfigs, OnceWish, Shown
from forerun.control.once.web import WebState

__all__ = [
    "LONGEST_KEY",
    "Dependencies",
    "Dependency",
    "FolderState",
    "Line",
    "ObjectState",
    "Once",
    "OnceConfigs",
    "OnceWish",
    "QueueState",
    "Shown",
    "WebState",
    "check_key",
    "given_id",
    "read_specs",
    "shown_spec",
]
