"""What the engine's autoscaler is told, so that it starts and ends machines by the operator's own command."""

import json
from collections.abc import Iterable
from pathlib import Path

from forerun.cluster.contract import Member
from forerun.cluster.engine.wire import RESOURCE, Order
from forerun.cluster.private import write_private

IDLE_MINUTES = 1.0
KIND = "host"
# Machines that joined by themselves count, too: how many may be started is kept by the provider.
_MANY = 10_000
_JOINED = "joined.json"


def machines_directory(directory: Path) -> Path:
    """Where it is written which machines were started, a file each; ``directory`` is the engine's."""
    return directory / "machines"


def write_joined(directory: Path, members: Iterable[Member], own: str) -> None:
    """Tell the provider which machines are there, ``own`` aside, so that they are counted, whoever started them."""
    path = directory / _JOINED
    text = json.dumps([each.name for each in members if each.alive and each.name != own])
    if not path.exists() or path.read_text() != text:
        write_private(path, text.encode())


def read_joined(directory: Path) -> list[str]:
    """What was told last."""
    try:
        return [str(name) for name in json.loads((directory / _JOINED).read_text())]
    except (OSError, ValueError):
        return []


def write_config(directory: Path, order: Order) -> Path | None:
    """The autoscaler's file, which is JSON and so YAML, too; ``None`` when there is no command to start machines with."""
    if not order.scale_command:
        return None
    config = {
        "cluster_name": "forerun",
        "max_workers": _MANY,
        "idle_timeout_minutes": IDLE_MINUTES,
        "upscaling_speed": 10,
        "provider": {
            "type": "external",
            "module": "forerun.cluster.engine.machines.CommandProvider",
            "command": order.scale_command,
            "directory": str(directory),
            "limit": order.scale_max,
            # Machines join by themselves: nothing is to be installed there, by nobody.
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "foreground_node_launch": True,
            "use_internal_ips": True,
        },
        "auth": {},
        "available_node_types": {
            "head": {
                "resources": {"CPU": 0},
                "node_config": {},
                "min_workers": 0,
                "max_workers": 0,
            },
            KIND: {
                "resources": {RESOURCE: 1},
                "node_config": {},
                "min_workers": 0,
                "max_workers": _MANY,
            },
        },
        "head_node_type": "head",
        "cluster_synced_files": [],
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        "initialization_commands": [],
        "setup_commands": [],
        "head_setup_commands": [],
        "worker_setup_commands": [],
        "head_start_ray_commands": [],
        "worker_start_ray_commands": [],
        "rsync_exclude": [],
        "rsync_filter": [],
    }
    path = directory / "autoscaling.yaml"
    path.write_text(json.dumps(config))
    return path
