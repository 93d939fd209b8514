"""The command line: ``forerun COMMAND``.

It speaks to a server only through the AWS APIs and the small signed endpoints under ``/forerun/``, so that everything
it does, any AWS client can do. Commands are imported when they are run: ``forerun --help`` stays under 100 ms.
Exit codes: 0 done, 1 failed (a function that answered with an error, too), 2 wrong usage.
"""

from forerun.cli.commands import main

__all__ = ["main"]
