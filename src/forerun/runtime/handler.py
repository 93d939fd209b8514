"""Finds the user's handler function as AWS's runtime does, in an interpreter that was used before the code came.

The interpreter has modules loaded that AWS's has not at this point. A module of the user's that bears the name of such
a one must win, as it does on AWS, where the code comes before the standard library on ``sys.path``.
"""

from __future__ import annotations

import importlib
import os
import sys

from forerun.runtime import faults
from forerun.runtime.faults import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

# Parts of one whole, which zygotes may have loaded: a function that brings one of them gets none of ours.
_SDK = frozenset(("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3"))
# What AWS's runtime has loaded itself before it reads the handler: there, too, these cannot be replaced.
_ALWAYS_LOADED = frozenset(
    """
    __future__ __main__ forerun abc atexit builtins codecs collections contextlib copyreg decimal encodings
    enum functools genericpath importlib io itertools json keyword linecache logging marshal math numbers
    operator os posix posixpath re reprlib site sre_compile sre_constants sre_parse stat string sys textwrap
    threading time token tokenize traceback types warnings weakref zipimport
    """.split()  # noqa: SIM905  a word list
)


def find_handler(name: str) -> Callable[[Any, Any], Any]:
    """The function that ``name`` (``pkg/mod.func`` or ``pkg.mod.func``) means; imports its module.

    Raises ``Fault`` for what AWS names itself; what the module raises while it is imported comes through as it is.
    """
    module_name, dot, function_name = name.rpartition(".")
    if not dot:
        raise Fault(
            faults.MALFORMED_HANDLER,
            "Bad handler '%s': not enough values to unpack (expected 2, got 1)" % name,
        )
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise Fault(
            faults.BUILT_IN_CONFLICT,
            "Cannot use built-in module %s as a handler module" % module_name,
        )
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise Fault(
            faults.IMPORT_MODULE, "Unable to import module '%s': %s" % (module_name, error)
        ) from error
    except SyntaxError as error:
        raise Fault(
            faults.SYNTAX,
            "Syntax error in module '%s': %s" % (module_name, error),
            ['  File "%s" Line %s\n    %s' % (error.filename, error.lineno, error.text)],
        ) from error
    try:
        found: Callable[[Any, Any], Any] = getattr(module, function_name)
    except AttributeError:
        raise Fault(
            faults.HANDLER_NOT_FOUND,
            "Handler '%s' missing on module '%s'" % (function_name, module_name),
        ) from None
    return found


def open_code_paths(paths: Iterable[str]) -> None:
    """Put the user's folders first on ``sys.path`` and forget loaded modules that they replace."""
    folders = list(dict.fromkeys(paths))
    for folder in folders:
        # A finder made while the folder was empty would not see what is mounted there now.
        sys.path_importer_cache.pop(folder, None)
    sys.path[:] = folders + [entry for entry in sys.path if entry not in folders]
    names: set[str] = set()
    for folder in folders:
        try:
            entries = os.listdir(folder)  # noqa: PTH208  pathlib would be loaded for this alone
        except OSError:
            continue
        names.update(entry.partition(".")[0] for entry in entries)
    replaced = {name for name in names if name in sys.modules} - _ALWAYS_LOADED
    replaced.difference_update(sys.builtin_module_names)
    if replaced & _SDK:
        replaced |= _SDK
    if replaced:
        for loaded in list(sys.modules):
            if loaded.partition(".")[0] in replaced:
                del sys.modules[loaded]
