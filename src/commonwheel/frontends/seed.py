"""The pip of environments that have none, or whose pip was lost with its store entry."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from commonwheel import manifest
from commonwheel.bytecode import Compiler
from commonwheel.entry import Entry
from commonwheel.entry_folder import read_entry
from commonwheel.environment import Environment
from commonwheel.errors import InvalidStore
from commonwheel.install import Progress
from commonwheel.lock_errors import HostFailed
from commonwheel.pin import Kind, Pin
from commonwheel.store import Store
from commonwheel.sync import Host

_OLDEST = Version("22.3")
"""The first pip that commonwheel can serve."""


def pip(environment: Environment, store: Store, host: Host, progress: Progress) -> Entry:
    """The store's newest pip for ``environment``, or else the index's.

    Without an index it is the one that Python brings along (``ensurepip``), if any.

    :raises HostFailed: there is none to be had
    :raises InvalidStore: the store cannot be read or written
    """
    fitting = [
        each for each in store.contents().of_name("pip") if _fits(each, environment)
    ]
    compiler = Compiler(environment.python, environment.cache_tag)
    if fitting:
        newest = max(fitting, key=lambda each: Version(each.description.version))
        store.ensure_bytecode(newest, compiler)
        return newest
    with tempfile.TemporaryDirectory(prefix="commonwheel-") as folder:
        try:
            any_version = Pin("pip", None, Kind.INDEX)
            fetched = host.fetch([any_version], environment, Path(folder), progress)
        except HostFailed:
            for wheel in _brought_along(environment):
                return store.add(wheel, compiler, remember=True)
            raise
        return store.add(fetched["pip"], compiler)


def is_lost(environment: Environment) -> bool:
    """Whether the pip of ``environment`` is linked to an entry that is not there."""
    for site in environment.sites:
        try:
            link = manifest.decode((site / manifest.path_of("pip")).read_bytes())
            return read_entry(link.entry) is None
        except FileNotFoundError:
            continue
        except (InvalidStore, ValueError):
            return True
    return False


def _fits(entry: Entry, environment: Environment) -> bool:
    """Whether a pip runs on the environment's Python, and can be served."""
    text = (entry.dist_info / "METADATA").read_text("utf-8")
    needed = HeaderParser().parsestr(text, headersonly=True)["Requires-Python"] or ""
    try:
        fits = environment.version in SpecifierSet(needed)
    except InvalidSpecifier:
        return False
    return fits and Version(entry.description.version) >= _OLDEST


def _brought_along(environment: Environment) -> Iterator[Path]:
    """The wheels of pip that Python has for ``ensurepip``; some Pythons have none."""
    code = "import ensurepip; print(ensurepip.__path__[0])"
    answer = subprocess.run(
        [str(environment.python), "-I", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode == 0:
        yield from Path(answer.stdout.strip(), "_bundled").glob("pip-*.whl")
