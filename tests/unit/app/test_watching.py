"""What is kept too long is removed, each kind for itself."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.fakes.clock import FakeClock

from forerun.app.state import open_state
from forerun.app.watching import Watching
from forerun.errors import StorageFailed
from forerun.settings import Settings

PARTS = ("keeper.trim", "profiler.trim", "activity.sweep")


@pytest.fixture
async def watching(tmp_path: Path) -> AsyncIterator[Watching]:
    settings = Settings.load({}, server_data_dir=str(tmp_path))
    clock = FakeClock(1_760_000_000.0)
    state = await open_state(settings, clock)
    yield Watching(settings, state, clock, running=lambda _: None, platform=(), peaks=dict)
    await state.close()


@pytest.mark.parametrize("failing", PARTS)
async def test_what_cannot_be_trimmed_keeps_nothing_else(watching, monkeypatch, caplog, failing):
    trimmed: list[str] = []

    def replaced(name: str):
        async def trim() -> None:
            trimmed.append(name)
            if name == failing:
                raise StorageFailed("the disk is full")

        return trim

    for name in PARTS:
        part, verb = name.split(".")
        monkeypatch.setattr(getattr(watching, part), verb, replaced(name))
    await watching.sweep()
    assert trimmed == list(PARTS)
    assert caplog.text.count("cannot be trimmed: the disk is full") == 1


async def test_sweeping_does_it_all(watching, caplog):
    await watching.sweep()
    assert "cannot be trimmed" not in caplog.text
