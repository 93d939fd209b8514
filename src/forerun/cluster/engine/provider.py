"""What the engine's autoscaler is told, so that it starts and ends machines by the operator's own command."""

import json
from pathlib import Path

from forerun.cluster.engine.wire import RESOURCE, Order

IDLE_MINUTES = 1.0
KIND = "host"


def write_config(directory: Path, order: Order) -> Path | None:
    """The autoscaler's file, which is JSON and so YAML, too; ``None`` when there is no command to start machines with."""
    if not order.scale_command:
        return None
    config = {
        "cluster_name": "forerun",
        "max_workers": order.scale_max,
        "idle_timeout_minutes": IDLE_MINUTES,
        "upscaling_speed": 10,
        "provider": {
            "type": "external",
            "module": "forerun.cluster.engine.machines.CommandProvider",
            "command": order.scale_command,
            "directory": str(directory / "machines"),
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
                "max_workers": order.scale_max,
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
