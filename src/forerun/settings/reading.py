"""From the environment, a file and arguments to typed values; errors name the setting and where it came from."""

import dataclasses
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from forerun.errors import InvalidInput

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_DEFAULT_DATA_DIR = "~/.local/share/forerun"


def data_dir(environ: Mapping[str, str], given: Mapping[str, object]) -> Path:
    """The data directory, absolute; ``InvalidInput`` when there is no home to find it in."""
    chosen = (
        given.get("server_data_dir")
        or environ.get("FORERUN_DATA")
        or environ.get("FORERUN_SERVER_DATA_DIR")
    )
    if not chosen and environ.get("XDG_DATA_HOME"):
        chosen = Path(environ["XDG_DATA_HOME"]) / "forerun"
    path = Path(str(chosen or _DEFAULT_DATA_DIR))
    try:
        path = path.expanduser()
    except RuntimeError:
        raise InvalidInput(
            f"{path} cannot be found: there is no home directory; give --data or FORERUN_DATA"
        ) from None
    return path.absolute()


def from_file(environ: Mapping[str, str], data_dir: Path) -> list[tuple[str, dict[str, object]]]:
    """The settings file as one source of flat names; empty when there is none, ``InvalidInput`` when it is wrong."""
    named = environ.get("FORERUN_CONFIG")
    path = Path(named) if named else data_dir / "forerun.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if named:
            raise InvalidInput(f"FORERUN_CONFIG names {path}, which does not exist") from None
        return []
    except NotADirectoryError:
        return []
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from error
    flat: dict[str, object] = {}
    for group, fields in content.items():
        if not isinstance(fields, dict):
            raise InvalidInput(f"{path}: {group!r} stands outside of a group such as [server]")
        flat.update({f"{group}_{name}": value for name, value in fields.items()})
    return [(str(path), flat)]


def from_environ(environ: Mapping[str, str], groups: Iterable[str]) -> dict[str, object]:
    """``FORERUN_GROUP_FIELD`` as flat names; variables of other groups are not ours."""
    short = {"FORERUN_CONFIG", "FORERUN_DATA", "FORERUN_LISTEN"}
    prefixes = tuple(f"FORERUN_{group.upper()}_" for group in groups)
    flat: dict[str, object] = {
        name.removeprefix("FORERUN_").lower(): value
        for name, value in environ.items()
        if name not in short and name.startswith(prefixes)
    }
    if listen := environ.get("FORERUN_LISTEN"):
        flat |= _listen(listen)
    return flat


def short_forms(given: Mapping[str, object]) -> dict[str, object]:
    """Arguments as flat names, with ``listen`` taken apart."""
    flat = dict(given)
    if listen := flat.pop("listen", None):
        flat |= _listen(str(listen))
    return flat


def _listen(text: str) -> dict[str, object]:
    """``HOST:PORT``, ``:PORT``, ``PORT`` or ``[IPv6]:PORT``."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal():
        raise InvalidInput(f"listen must be HOST:PORT, such as 127.0.0.1:9700, not {text!r}")
    host = host.removeprefix("[").removesuffix("]")
    return {"server_port": int(port)} | ({"server_host": host} if host else {})


def merge(
    values: dict[str, dict[str, Any]],
    groups: Mapping[str, type[Any]],
    source: str,
    flat: Mapping[str, object],
) -> None:
    """Convert one source's values and put them over those of earlier sources."""
    for name, value in flat.items():
        group, _, key = name.partition("_")
        fields = (
            {item.name: item for item in dataclasses.fields(groups[group])}
            if group in groups
            else {}
        )
        if key not in fields:
            raise InvalidInput(f"unknown setting {group}.{key} in {source}")
        values[group][key] = _convert(f"{group}.{key}", fields[key].type, value, source)


def _convert(name: str, kind: Any, value: object, source: str) -> object:
    try:
        return _converted(kind, value)
    except ValueError:
        raise InvalidInput(f"{name} = {value!r} in {source} is not {_wording(kind)}") from None


def _converted(kind: Any, value: object) -> object:
    if kind is bool:
        return _truth(value)
    if typing.get_origin(kind) is Literal:
        if value not in typing.get_args(kind):
            raise ValueError(value)
        return value
    if isinstance(kind, types.GenericAlias):
        return _names(value)
    if isinstance(value, bool):
        return _refuse(value)
    if kind is Path:
        return Path(str(value))
    return kind(str(value))


def _refuse(value: object) -> typing.NoReturn:
    raise ValueError(value)


def _names(value: object) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        _refuse(value)
    return tuple(str(item).strip() for item in items if str(item).strip())


def _truth(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(value)
    return word in _TRUE


def _wording(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(typing.get_args(kind))
    if isinstance(kind, types.GenericAlias):
        return "a list of names"
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "valid")
