"""The web console: pages for people who run functions, under ``/console``, and the JSON and events that they are made of.

Who opens a one-time link (``forerun console`` asks for it) gets a session in the name of the key that asked for the link;
everything a page asks for is authorised as that principal. What the platform's own routes already tell is asked of them.
"""

from forerun.console.application import Console, Estate
from forerun.console.functions import FunctionPages, FunctionServices
from forerun.console.live import Tails
from forerun.console.logs import LogPages
from forerun.console.pulse import PulseBoard
from forerun.console.sign_in import SignIn, Visitor

__all__ = [
    "Console",
    "Estate",
    "FunctionPages",
    "FunctionServices",
    "LogPages",
    "PulseBoard",
    "SignIn",
    "Tails",
    "Visitor",
]
