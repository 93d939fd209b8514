"""How the agent of a machine is started."""

import sys
from collections.abc import Mapping
from pathlib import Path


def agent_command(
    data_dir: Path, listen: str, zone: str = "", labels: Mapping[str, str] | None = None
) -> list[str]:
    """What runs the agent of a machine."""
    command = [
        *(sys.executable, "-c", "from forerun.cli import main; main()"),
        *("agent", "--data", str(data_dir), "--listen", listen),
    ]
    if zone:
        command += ["--zone", zone]
    for name, value in (labels or {}).items():
        command += ["--label", f"{name}={value}"]
    return command
