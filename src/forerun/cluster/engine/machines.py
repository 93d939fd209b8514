"""The engine's autoscaler asks here for machines; a command of the operator's starts and ends them.

``COMMAND start NAME`` makes a machine that joins under that name, ``COMMAND end NAME`` ends it; both return quickly, and 0 when
it is on its way. Which there are is kept in a directory, a file each. Loaded by the engine's monitor.
"""

import logging
import secrets
import shlex
import subprocess
from pathlib import Path
from typing import Any

from ray.autoscaler.node_provider import NodeProvider

from forerun.cluster.engine.provider import KIND, machines_directory, read_joined

log = logging.getLogger("forerun.engine")

COMMAND_S = 60.0
HEAD = "head"


class CommandProvider(NodeProvider):
    """Machines by a command. The engine's v2 autoscaler works with a plain provider like this; with its batching one it does not."""

    def __init__(self, provider_config: dict[str, Any], cluster_name: str) -> None:
        super().__init__(provider_config, cluster_name)
        self._command = shlex.split(provider_config["command"])
        self._limit = int(provider_config["limit"])
        self._engine = Path(provider_config["directory"])
        self._directory = machines_directory(self._engine)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def non_terminated_nodes(self, tag_filters: dict[str, str]) -> list[str]:
        """The head, the machines that were started and not ended, and those that joined by themselves."""
        names = [HEAD, *dict.fromkeys([*self._started(), *read_joined(self._engine)])]
        return [name for name in names if tag_filters.items() <= self.node_tags(name).items()]

    def is_running(self, node_id: str) -> bool:
        """Whether it was started and not ended."""
        return node_id == HEAD or node_id in self._started() or node_id in read_joined(self._engine)

    def is_terminated(self, node_id: str) -> bool:
        """The contrary."""
        return not self.is_running(node_id)

    def node_tags(self, node_id: str) -> dict[str, str]:
        """What the autoscaler knows machines by."""
        return {
            "ray-node-name": node_id,
            "ray-node-type": "head" if node_id == HEAD else "worker",
            "ray-user-node-type": HEAD if node_id == HEAD else KIND,
            "ray-node-status": "up-to-date",
            "ray-launch-config": "",
        }

    def set_node_tags(self, node_id: str, tags: dict[str, str]) -> None:
        """They never change."""

    def internal_ip(self, node_id: str) -> str:
        """Not known, nor needed: machines are found by name when they have joined."""
        return node_id

    def external_ip(self, node_id: str) -> str:
        """As above."""
        return node_id

    def create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> Any:
        """Start so many machines; one that cannot be started is tried again by the autoscaler."""
        del node_config, tags
        for _ in range(min(count, self._limit - len(self._started()))):
            name = f"auto-{secrets.token_hex(4)}"
            self._run("start", name)
            (self._directory / name).touch()
        return {}

    def create_node_with_resources_and_labels(
        self,
        node_config: dict[str, Any],
        tags: dict[str, str],
        count: int,
        resources: dict[str, float],
        labels: dict[str, str],
    ) -> Any:
        """As above: all machines are of one kind."""
        del resources, labels
        return self.create_node(node_config, tags, count)

    def terminate_node(self, node_id: str) -> Any:
        """End one, if it was started here; one that joined by itself is left to its owner."""
        if node_id not in self._started():
            return {}
        self._run("end", node_id)
        (self._directory / node_id).unlink(missing_ok=True)
        return {}

    def terminate_nodes(self, node_ids: list[str]) -> Any:
        """End several."""
        for each in node_ids:
            self.terminate_node(each)
        return {}

    def _started(self) -> list[str]:
        return sorted(each.name for each in self._directory.iterdir())

    def _run(self, what: str, name: str) -> None:
        subprocess.run(  # noqa: S603 the operator's own command
            [*self._command, what, name],
            check=True,
            timeout=COMMAND_S,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        log.info("%s %s", what, name)
