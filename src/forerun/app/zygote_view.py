"""What is told of zygotes: which there are, why, and what functions import. Of functions only the caller's own."""

from typing import Any

from forerun.app.zygotes import Grove, Zygotes
from forerun.sandbox import ZygoteInfo

FUNCTIONS_MAX = 1000


class ZygoteView:
    """Implements ``api.zygotes.Shown``."""

    def __init__(self, zygotes: Zygotes) -> None:
        self._all = zygotes

    def zygotes(self, account: str) -> list[dict[str, object]]:
        """Those that live, parents first."""
        nursery = self._all.nursery
        return [self._shown(info, account) for info in (nursery.infos() if nursery else ())]

    def planned(self) -> list[dict[str, object]]:
        """Those that were chosen and are not there; in the place of one that could not be grown, why."""
        nursery = self._all.nursery
        if nursery is None:
            return []
        found: list[dict[str, object]] = []
        for runtime, grove in self._all.groves.items():
            if grove.trouble:
                found.append({"runtime": runtime, "trouble": grove.trouble})
            found += (
                {
                    "name": runtime + one.ending,
                    "modules": sorted(one.modules),
                    "mb": round(one.mb, 1),
                }
                for one in grove.wanted
                if not nursery.has(runtime + one.ending)
            )
        return found

    def imports(self, account: str, name: str) -> list[dict[str, object]]:
        """The functions that were started last, with what they import, longest first."""
        found: list[dict[str, object]] = []
        for key, known in reversed(self._all.functions.items()):
            if known.account != account or (name and name not in known.names):
                continue
            grove = self._all.groves.get(known.runtime)
            placed = grove.placed.get(key) if grove else None
            found.append(
                {
                    "names": dict(known.names),
                    "zygote": known.runtime + (placed.ending if placed else known.usual),
                    "spared_ms": round(placed.spared_ms, 1) if placed else 0.0,
                    "imports": [
                        {"module": one.name, "origin": one.origin, "ms": one.ms}
                        for one in sorted(known.imports.values(), key=lambda one: -one.ms)
                    ],
                }
            )
            if len(found) >= FUNCTIONS_MAX:
                break
        return found

    def _shown(self, info: ZygoteInfo, account: str) -> dict[str, object]:
        runtime, plus, more = info.name.partition("+")
        grove = self._all.groves.get(runtime)
        ending = plus + more
        served = self._served(grove, ending) if grove else []
        own = [entry for key, entry in served if self._owner(key) == account]
        return {
            "name": info.name,
            "parent": info.parent,
            "modules": list(info.modules),
            "own_mb": round(info.loaded.kb / 1024, 1),
            "age_s": round(self._all.clock.now() - info.since, 1),
            "starts": self._all.starts.get(info.name, 0),
            "saved_ms_per_hour": round(
                sum(float(entry["saved_ms_per_hour"]) for _, entry in served)
            ),
            "functions": own,
            "other_functions": len(served) - len(own),
        }

    def _served(self, grove: Grove, ending: str) -> list[tuple[str, dict[str, Any]]]:
        found = []
        for key, placed in grove.placed.items():
            known = self._all.functions.get(key)
            if placed.ending == ending and known is not None:
                entry = {
                    "names": dict(known.names),
                    "spared_ms": round(placed.spared_ms, 1),
                    "starts_per_hour": round(placed.per_hour, 2),
                    "saved_ms_per_hour": round(placed.spared_ms * placed.per_hour, 1),
                }
                found.append((key, entry))
        return found

    def _owner(self, key: str) -> str:
        known = self._all.functions.get(key)
        return known.account if known is not None else ""
