"""What an environment is given so that its pip knows ``--use-shared-store``.

Two files that stand alone (``_commonwheel_pip.py``, ``pip_hook.py``), what starts the
first, and a note of where commonwheel is. Nothing of commonwheel itself, nor of what it
needs: the environment may have another Python, or other versions of the same libraries.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from commonwheel import manifest, runtime
from commonwheel.bytecode import Compiler
from commonwheel.environment import Environment
from commonwheel.frontends import settings
from commonwheel.install import install_wheels
from commonwheel.store import Store

_HERE = Path(__file__).parent
_START = _HERE / "_commonwheel_pip.py"
_HOOK = _HERE / "pip_hook.py"
_HOST = _HERE / "pip_host.py"
_NOTE = f"{manifest.FOLDER}/host"


def additions(environment: Environment, store: Store) -> Mapping[str, bytes]:
    """The files, by their path in site-packages.

    :raises InvalidEnvironment: the environment's interpreter does not run
    :raises InvalidStore: the store cannot be written
    """
    module = _START.stem
    found = {
        _START.name: _START.read_bytes(),
        f"{manifest.FOLDER}/{_HOOK.name}": _HOOK.read_bytes(),
        _NOTE: _note(),
        **runtime.start_up(
            "00_commonwheel_pip", module, f"{module}.install()", environment.version
        ),
    }
    compiler = Compiler(environment.python, environment.cache_tag)
    bytecode = store.bytecode_of_module(_START, compiler)
    if bytecode:
        name = runtime.bytecode_name(_START.name, environment.cache_tag)
        found[name] = bytecode
    return found


def store_of(variables: Mapping[str, str]) -> Store:
    """The store that pip uses when it is run with the variables ``variables``."""
    given = variables.get("PIP_SHARED_STORE_PATH") or variables.get(settings.STORE)
    return Store(settings.store_path(given))


def enable(environment: Environment, store: Store) -> None:
    """Give the files to an environment that is there.

    :raises CommonwheelError: it cannot be written, or the store cannot be
    """
    given = additions(environment, store)
    install_wheels([], environment, store, additions=given)


def are_in(site: Path) -> bool:
    """Whether the site-packages folder ``site`` has the files, of this commonwheel."""
    copies = {_START.name: _START, f"{manifest.FOLDER}/{_HOOK.name}": _HOOK}
    try:
        return (site / _NOTE).read_bytes() == _note() and all(
            (site / name).read_bytes() == source.read_bytes()
            for name, source in copies.items()
        )
    except OSError:
        return False


def _note() -> bytes:
    """Where commonwheel is."""
    host = {"python": sys.executable, "script": str(_HOST)}
    return json.dumps(host).encode("ascii") + b"\n"
