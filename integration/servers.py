"""Programs that run until they are stopped, and restart when files change."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from environments import Environment

PROJECT = Path(__file__).with_name("site_project")
"""One page, as a Django site, as a WSGI and an ASGI application; and Celery tasks."""

_PATIENCE, _AGAIN, _TICK = 60.0, 5.0, 0.2  # seconds


@dataclass(frozen=True)
class Server:
    """A program of an environment that runs in a copy of :data:`PROJECT`."""

    process: subprocess.Popen[bytes]
    project: Path
    log: Path
    """What it has said."""

    def page(self) -> str:
        """What it answers: empty while it does not."""
        ports = re.findall(r"http://127\.0\.0\.1:(\d+)", self.log.read_text())
        if not ports:
            return ""
        try:
            url = f"http://127.0.0.1:{ports[-1]}/"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def answers(self, expected: str, meanwhile: Callable[[], object] = int) -> str:
        """Wait until it answers that; ``meanwhile`` is called now and then."""
        self._wait(lambda: self.page() == expected, meanwhile)
        return expected

    def says(self, text: str, times: int = 1) -> None:
        """Wait until it has said that, so many times."""
        self._wait(lambda: self.log.read_text().count(text) >= times)

    def settles(self, expected: str, *, seconds: float = 10) -> str:
        """What it answers in the end: after a while, if that is not what is expected."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and self.page() != expected:
            time.sleep(_TICK)
        return self.page()

    def _wait(
        self, happened: Callable[[], bool], meanwhile: Callable[[], object] = int
    ) -> None:
        ends = time.monotonic() + _PATIENCE
        while not happened():
            if time.monotonic() > ends or self.process.poll() is not None:
                pytest.fail(f"it does not come to that:\n{self.log.read_text()}")
            meanwhile()
            time.sleep(_TICK)

    def edit(self, word: str) -> None:
        """Have the page say ``word``.

        The file is written again now and then: nobody sees a change that comes before
        the first look, and too many of them leave no time to answer.
        """
        page = self.project / "page.py"
        old = page.read_text()
        new = re.sub('WORD = ".*"', f'WORD = "{word}"', old)
        if new != old or page.stat().st_mtime < time.time() - _AGAIN:
            page.write_text(new)

    def stop(self) -> int:
        """Ask it to end; its exit status."""
        self.process.terminate()
        return self.process.wait(30)


def copy_project(environment: Environment, name: str) -> Path:
    """A folder that holds what :data:`PROJECT` holds, and may be changed."""
    return Path(shutil.copytree(PROJECT, environment.home / name))


@contextmanager
def serving(
    environment: Environment, name: str, *arguments: str, **variables: str
) -> Iterator[Server]:
    """Run ``python`` with ``arguments`` in a copy of the project, of that name.

    In the end nothing runs of it, nor of what it has started.
    """
    project = copy_project(environment, name)
    log = project.with_name(f"{project.name}.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [environment.python, *arguments],
            cwd=project,
            env={**environment.variables, "PYTHONUNBUFFERED": "1", **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Server(process, project, log)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
