"""A host for tests: what pip would fetch, build and install, from a folder of wheels."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from commonwheel.environment import Environment
from commonwheel.install import Progress
from commonwheel.lock_errors import HostFailed
from commonwheel.pin import Pin


class FakeHost:
    """Takes wheels from a folder and notes what it is asked for."""

    name = "fake"

    def __init__(self, wheels: Path) -> None:
        self.wheels = wheels
        self.calls: list[tuple[str, list[Pin]]] = []
        self.error: BaseException | None = None
        """What it does instead, whatever it is asked for."""

    @property
    def asked(self) -> list[tuple[str, list[str]]]:
        """What it was asked to do, with the names of what."""
        return [(task, [pin.name for pin in pins]) for task, pins in self.calls]

    @property
    def fetched(self) -> list[str]:
        """The names of all that it was to fetch."""
        return [name for task, names in self.asked if task == "fetch" for name in names]

    def fetch(
        self,
        pins: Sequence[Pin],
        environment: Environment,
        folder: Path,
        progress: Progress,
    ) -> dict[str, Path]:
        self._note("fetch", pins)
        progress("fetching", 1, 2)
        patterns = {
            pin.name: pin.filename or f"{pin.name}-{pin.version}*.whl" for pin in pins
        }
        return self._take(patterns, folder)

    def build(
        self,
        pins: Sequence[Pin],
        environment: Environment,
        folder: Path,
        progress: Progress,
    ) -> dict[str, Path]:
        self._note("build", pins)
        return self._take({pin.name: f"{pin.name}-1.0*" for pin in pins}, folder)

    def install_projects(self, pins: Sequence[Pin], environment: Environment) -> None:
        self._note("install", pins)

    def _note(self, task: str, pins: Sequence[Pin]) -> None:
        self.calls.append((task, list(pins)))
        if self.error is not None:
            raise self.error

    def _take(self, patterns: dict[str, str], folder: Path) -> dict[str, Path]:
        found = {}
        for name, pattern in patterns.items():
            there = sorted(self.wheels.glob(pattern))
            if not there:
                raise HostFailed(self.name, f"get {name}", "there is none")
            found[name] = Path(shutil.copy(there[-1], folder))
        return found
