"""What every case is given: how much to measure, and a quiet moment before each round."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from quiet import wait_for_quiet

PYTHON = f"python3.{sys.version_info.minor}"


@dataclass
class Run:
    """``quick`` measures less of everything; ``others_cpu`` is the most that others used before a round."""

    quick: bool = False
    patience_s: float = 3.0
    others_cpu: float = field(default=0.0, init=False)

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def rounds(self, full: int, quick: int = 1) -> Iterator[int]:
        """Numbers of rounds, each after the machine was quiet or patience had ended."""
        for index in range(self.size(full, quick)):
            self.quiet()
            yield index

    def quiet(self) -> None:
        """Wait for a quiet moment, and note how quiet it was."""
        self.others_cpu = max(self.others_cpu, wait_for_quiet(self.patience_s))
