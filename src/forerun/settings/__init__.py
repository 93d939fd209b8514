"""What an operator may choose, read once and passed down as values.

This room alone reads the environment and the settings file. A setting is called ``group.field`` here,
``FORERUN_GROUP_FIELD`` in the environment and ``field`` under ``[group]`` in the file ``forerun.toml`` of the data
directory (or in the file that ``FORERUN_CONFIG`` names). What is given to ``load`` wins over the environment, which
wins over the file, which wins over the default. ``FORERUN_LISTEN`` (host:port) and ``FORERUN_DATA`` are short forms.
"""

import dataclasses
import os
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from forerun.settings.ahead import (
    ForesightSettings,
    MetaeventSettings,
    PackagingSettings,
    ScalingSettings,
)
from forerun.settings.cluster import ClusterSettings
from forerun.settings.groups import (
    AccountPool,
    EgressPolicy,
    EventSettings,
    HostSettings,
    LimitSettings,
    MonitoringSettings,
    RetentionSettings,
    SandboxMode,
    SandboxSettings,
    ServerSettings,
)
from forerun.settings.reading import data_dir as read_data_dir
from forerun.settings.reading import from_environ, from_file, merge, short_forms

__all__ = [
    "AccountPool",
    "ClientSettings",
    "ClusterSettings",
    "EgressPolicy",
    "EventSettings",
    "ForesightSettings",
    "HostSettings",
    "LimitSettings",
    "MetaeventSettings",
    "MonitoringSettings",
    "PackagingSettings",
    "RetentionSettings",
    "SandboxMode",
    "SandboxSettings",
    "ScalingSettings",
    "ServerSettings",
    "Settings",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """All settings of one server."""

    server: ServerSettings = field(default_factory=ServerSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    host: HostSettings = field(default_factory=HostSettings)
    sandbox: SandboxSettings = field(default_factory=SandboxSettings)
    packaging: PackagingSettings = field(default_factory=PackagingSettings)
    events: EventSettings = field(default_factory=EventSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    monitoring: MonitoringSettings = field(default_factory=MonitoringSettings)
    foresight: ForesightSettings = field(default_factory=ForesightSettings)
    scaling: ScalingSettings = field(default_factory=ScalingSettings)
    metaevents: MetaeventSettings = field(default_factory=MetaeventSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **overrides: object) -> Self:
        """Read the settings; ``environ`` is the process's environment when not given.

        ``overrides`` are named ``group_field`` (``server_port=0``), or ``listen="HOST:PORT"``; ``None`` means not
        given. Raises ``InvalidInput`` naming the setting, where it came from and what it may be.
        """
        environ = os.environ if environ is None else environ
        given = {name: value for name, value in overrides.items() if value is not None}
        groups = {
            item.name: typing.cast("type[Any]", item.type) for item in dataclasses.fields(cls)
        }
        directory = read_data_dir(environ, given)
        values: dict[str, dict[str, Any]] = {name: {} for name in groups}
        for source, flat in (
            *from_file(environ, directory),
            ("environment", from_environ(environ, groups)),
            ("argument", short_forms(given)),
        ):
            merge(values, groups, source, flat)
        values["server"]["data_dir"] = directory
        if path := environ.get("PATH"):
            values["sandbox"].setdefault("search_path", path)
        if home := environ.get("HOME"):
            values["sandbox"].setdefault("home", Path(home))
        return cls(**{name: group(**values[name]) for name, group in groups.items()})


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientSettings:
    """What the command line takes from its environment to find a server."""

    data_dir: Path
    """Where the credentials file of a local server is."""

    endpoint: str | None
    """``AWS_ENDPOINT_URL``: the server that the environment points at."""

    region: str | None
    """``AWS_REGION`` or ``AWS_DEFAULT_REGION``."""

    shell: str
    """Name of the user's shell, for the syntax of exports."""

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, *, data_dir: str | None = None) -> Self:
        """Read them; with ``data_dir`` given the environment's endpoint is not asked."""
        environ = os.environ if environ is None else environ
        return cls(
            data_dir=read_data_dir(environ, {"server_data_dir": data_dir} if data_dir else {}),
            endpoint=None if data_dir else environ.get("AWS_ENDPOINT_URL") or None,
            region=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or None,
            shell=Path(environ.get("SHELL", "")).name or "sh",
        )

    @property
    def credentials_path(self) -> Path:
        """The file that the server of this data directory has written."""
        return self.data_dir / "credentials.json"
