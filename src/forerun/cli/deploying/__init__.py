"""From files on this machine to functions on a server.

Everything that can be refused is refused before the first change; every change is made only where something differs, so
that deploying twice keeps warm sandboxes warm and makes no new version.
"""

from forerun.cli.deploying.apply import Applied, Applier
from forerun.cli.deploying.bundling import bundle
from forerun.cli.deploying.detection import detect
from forerun.cli.deploying.functions import FunctionWriter
from forerun.cli.deploying.template import Stack, is_template, load_template

__all__ = [
    "Applied",
    "Applier",
    "FunctionWriter",
    "Stack",
    "bundle",
    "detect",
    "is_template",
    "load_template",
]
