"""pip as the host: it fetches, builds and installs what linking cannot do.

It is the pip beside commonwheel, run by its public command line, so indexes,
credentials, proxies and hashes are its own affair, and environments need no pip.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from urllib.parse import quote

from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from commonwheel.environment import Environment
from commonwheel.errors import CommonwheelError
from commonwheel.install import FETCHING, Progress
from commonwheel.lock_errors import HostFailed, SourceRefused, WrongFile
from commonwheel.pin import Kind, Pin

_NAME = "pip"
_HASHES = frozenset({"sha256", "sha384", "sha512"})
"""What pip compares; other hashes are compared by whoever asked for the file."""
_RAW_PROGRESS = Version("24.1")
"""The first pip that tells programs of its progress."""
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)$")
_OTHER_HASH = re.compile(
    r"(\S+)(?: @ \S+)? from (\S+) \(from .*?\): Expected (\w+) (.+?) Got (\w+)"
)
"""How pip says that a file is another one than its hash says."""
_CRASH = "ERROR: Exception:"
"""What pip says before the traceback of an error of its own; the last line says which."""
_UNREACHABLE = re.compile("connection broken|Could not fetch URL")
"""What pip warns of when it finds nothing because it did not get there."""
_IN_URL = "/:?#[]@!$&'()*+,;=%-._~"
_PATIENCE = 5.0
"""Seconds that pip has to tidy up after an interrupt."""


@dataclass(frozen=True)
class HostPip:
    """The pip that commonwheel runs with."""

    options: tuple[str, ...] = ()
    """What a lock says of the index, as on pip's command line."""
    warn: Callable[[str], object] = lambda message: None
    """Is told what pip warns of."""
    name: str = field(default=_NAME, init=False)

    def fetch(
        self,
        pins: Sequence[Pin],
        environment: Environment,
        folder: Path,
        progress: Progress,
    ) -> dict[str, Path]:
        """``pip download``: the wheels of ``pins``, by name.

        pip runs in commonwheel's interpreter, where its keyring and configuration are,
        and is told which wheels the environment supports.

        :raises HostFailed: a wheel cannot be had, or has another hash
        :raises SourceRefused: only a source distribution was to be had
        """
        task = f"fetch {_listed(pins)}"
        command = ["download", "--only-binary=:all:", *_target(environment)]
        if Version(_own(task).version) >= _RAW_PROGRESS:
            command.append("--progress-bar=raw")
        meter = _Meter(pins, progress)
        for part in _parts(pins):
            where = f"--dest={folder}"
            self._run(task, [*_PYTHON, *command, where], part, meter.read)
        return _wheels(task, pins, folder)

    def build(
        self,
        pins: Sequence[Pin],
        environment: Environment,
        folder: Path,
        progress: Progress,
    ) -> dict[str, Path]:
        """``pip wheel``: wheels of ``pins``, by name, built by the environment's Python.

        :raises HostFailed: one cannot be had or built, or its source has another hash
        """
        task = f"build {_listed(pins)}"
        progress("building", 0, len(pins))
        for part in _parts(pins):
            where = f"--wheel-dir={folder}"
            self._run(task, [*_pip_for(environment, task), "wheel", where], part)
        return _wheels(task, pins, folder)

    def install_projects(self, pins: Sequence[Pin], environment: Environment) -> None:
        """``pip install`` without dependencies, for the environment's Python.

        :raises HostFailed: pip says why
        """
        task = f"install {_listed(pins)}"
        for part in _parts(pins):
            self._run(task, [*_pip_for(environment, task), "install"], part)

    def _run(
        self,
        task: str,
        command: Sequence[str],
        pins: Sequence[Pin],
        read: Callable[[str], object] = lambda line: None,
    ) -> None:
        """Run a command of pip for ``pins``."""
        with tempfile.TemporaryDirectory(prefix="commonwheel-") as folder:
            wanted = Path(folder, "requirements.txt")
            wanted.write_text("".join(f"{_line(pin)}\n" for pin in pins), "utf-8")
            last = ["--no-deps", "--no-input", "--disable-pip-version-check"]
            said, status = _listen(
                [*command, *self.options, *last, "-r", str(wanted)], read
            )
        for line in dict.fromkeys(said):
            if line.startswith("WARNING: "):
                self.warn(line.removeprefix("WARNING: "))
        if status != 0:
            raise _failure(task, pins, said, status)


# Without the current folder on `sys.path`, which may hold anything.
_PYTHON = (
    sys.executable,
    *(("-P",) if sys.version_info >= (3, 11) else ()),
    *("-m", "pip"),
)


def _own(task: str) -> metadata.Distribution:
    """The pip beside commonwheel, as it is installed.

    :raises HostFailed: there is none
    """
    try:
        return metadata.distribution("pip")
    except metadata.PackageNotFoundError as error:
        reason = f"there is no pip in {sys.prefix}, beside commonwheel"
        raise HostFailed(_NAME, task, reason, hint="install one there") from error


def _pip_for(environment: Environment, task: str) -> list[str]:
    """How pip is run in an environment's interpreter: ours, or its own if ours cannot."""
    needed = SpecifierSet(_own(task).metadata["Requires-Python"] or "")
    if environment.version in needed:
        return [*_PYTHON, "--python", str(environment.python)]
    return [str(environment.python), "-m", "pip"]


def _target(environment: Environment) -> Iterator[str]:
    """Which wheels an environment supports, in the words of ``pip download``."""
    tags = [tag.split("-") for tag in environment.tags or ()]
    if not tags:
        return
    interpreter = tags[0][0]
    yield f"--python-version={environment.version}"
    yield f"--implementation={interpreter[:2]}"
    for abi in dict.fromkeys(tag[1] for tag in tags if tag[0] == interpreter):
        yield f"--abi={abi}"
    for platform in dict.fromkeys(tag[2] for tag in tags):
        if platform != "any":
            yield f"--platform={platform}"


def _parts(pins: Sequence[Pin]) -> Iterator[list[Pin]]:
    """Those with hashes and those without: pip wants all hashes of a run, or none."""
    for wanted in (True, False):
        part = [pin for pin in pins if bool(_hashes(pin)) is wanted]
        if part:
            yield part


def _line(pin: Pin) -> str:
    """A requirement as a line for pip."""
    hashes = "".join(
        f" --hash={algorithm}:{digest}" for algorithm, digest in _hashes(pin)
    )
    if pin.editable:
        return f"-e {_url(pin)}"
    if pin.kind is Kind.INDEX:
        version = f"=={pin.version}" if pin.version is not None else ""
        return f"{pin.name}{version}{hashes}"
    return f"{pin.name} @ {_url(pin)}{hashes}"


def _url(pin: Pin) -> str:
    assert pin.location is not None
    url = pin.path.as_uri() if pin.path is not None else pin.location
    # pip would take ${NAME} in a line for a variable, and a blank for its end
    url = quote(url.replace("${", "%24%7B"), safe=_IN_URL)
    if pin.kind is Kind.VCS:
        url = f"{pin.vcs}+{url}@{pin.commit}"
    said = [f"subdirectory={pin.subdirectory}"] if pin.subdirectory else []
    if pin.editable and pin.kind is Kind.VCS:
        said.insert(0, f"egg={pin.name}")
    return f"{url}#{'&'.join(said)}" if said else url


def _hashes(pin: Pin) -> list[tuple[str, str]]:
    """What pip can compare of what it fetches."""
    if pin.kind in (Kind.VCS, Kind.DIRECTORY):
        return []
    return sorted(pair for pair in pin.hashes if pair[0] in _HASHES)


def _wheels(task: str, pins: Sequence[Pin], folder: Path) -> dict[str, Path]:
    """The wheels in ``folder``, by name, after pip has put them there."""
    found: dict[str, Path] = {}
    others: list[str] = []
    for path in sorted(folder.iterdir()):
        try:
            found[parse_wheel_filename(path.name)[0]] = path
        except InvalidWheelFilename:
            others.append(path.name)
    for pin in pins:
        if pin.name not in found:
            if others:
                raise SourceRefused(str(pin), others[0])
            raise HostFailed(_NAME, task, f"there is no wheel of {pin}")
    return found


class _Meter:
    """Adds up what ``--progress-bar=raw`` tells of one file after the other."""

    def __init__(self, pins: Sequence[Pin], progress: Progress) -> None:
        sizes = [pin.size for pin in pins if pin.size is not None]
        self._expected = sum(sizes) if len(sizes) == len(pins) else 0
        self._show = progress
        self._before = self._done = self._total = 0
        progress(FETCHING, 0, self._expected)

    def read(self, line: str) -> None:
        match = _PROGRESS.match(line.strip())
        if match is None:
            return
        done, total = int(match[1]), int(match[2])
        if done < self._done or total != self._total:
            self._before += self._done  # another file
        self._done, self._total = done, total
        self._show(FETCHING, self._before + done, self._expected)


def _listen(
    command: Sequence[str], read: Callable[[str], object]
) -> tuple[list[str], int]:
    """Run a command; gives each line that it says to ``read``, and returns them all."""
    said: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                said.append(line.rstrip())
                read(line)
        except BaseException:
            _stop(process)
            raise
    return said, process.returncode


def _stop(process: subprocess.Popen[str]) -> None:
    """Let it tidy up as after Ctrl-C, which it may have seen itself; not for long."""
    process.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGINT)
    try:
        process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


def _failure(
    task: str, pins: Sequence[Pin], said: Sequence[str], status: int
) -> CommonwheelError:
    """The error for a pip that ended with ``status``."""
    reason = _reason(said) or f"exit status {status}"
    other = _OTHER_HASH.search(reason)
    if other is not None:
        what, url, algorithm, wanted, found = other.groups()
        others = wanted.count(" or ") + 1
        expected = wanted if others == 1 else f"one of {others} others"
        file = url.partition("#")[0].rpartition("/")[2]
        return WrongFile(what, file, f"has the {algorithm} {found}, not {expected}")
    unreachable = any(_UNREACHABLE.search(line) for line in said)
    no_wheel = "No matching distribution" in reason and not unreachable
    if no_wheel and any(pin.kind is Kind.INDEX for pin in pins):
        hint = "if there is a source distribution, --allow-sdist builds it"
        return HostFailed(_NAME, task, reason, hint=hint, said=tuple(said))
    return HostFailed(_NAME, task, reason, said=tuple(said))


def _reason(said: Sequence[str]) -> str:
    """The last error that pip tells of, with the lines that belong to it, as one line."""
    starts = [n for n, line in enumerate(said) if line.lower().startswith("error: ")]
    if not starts or said[starts[-1]] == _CRASH:
        return next((line for line in reversed(said) if line.strip()), "")
    first = starts[-1]
    block = [said[first].partition(" ")[2]]
    for line in said[first + 1 :]:
        if not line.startswith(" "):
            break
        block.append(line.strip())
    return " ".join(" ".join(block).split())


def _listed(pins: Sequence[Pin]) -> str:
    if len(pins) > 3:
        return f"{len(pins)} distributions"
    return ", ".join(map(str, pins))
