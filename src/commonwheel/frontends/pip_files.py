"""What an environment is given so that its pip knows ``--use-shared-store``.

Files that stand alone (``_commonwheel_pip.py``, ``pip_hook.py``, ``pip_client.py``) and a
note of where commonwheel is. The runtime runs the first when pip is imported. Nothing of
commonwheel itself, nor of what it needs: the environment may have another Python, or
other versions of the same libraries.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from commonwheel import manifest
from commonwheel.environment import Environment
from commonwheel.frontends import settings
from commonwheel.install import install_wheels
from commonwheel.store import Store

_HERE = Path(__file__).parent
_COPIED = ("_commonwheel_pip.py", "pip_hook.py", "pip_client.py")
_HOST = _HERE / "pip_host.py"
_NOTE = f"{manifest.FOLDER}/host"


def additions() -> Mapping[str, bytes]:
    """The files, by their path in site-packages."""
    copies = {name: (_HERE / name).read_bytes() for name in _COPIED}
    host = {"python": sys.executable, "script": str(_HOST)}
    note = json.dumps(host).encode("ascii") + b"\n"
    return {
        **{f"{manifest.FOLDER}/{name}": content for name, content in copies.items()},
        _NOTE: note,
    }


def store_of(variables: Mapping[str, str]) -> Store:
    """The store that pip uses when it is run with the variables ``variables``."""
    given = variables.get("PIP_SHARED_STORE_PATH") or variables.get(settings.STORE)
    return settings.open_store(given)


def enable(environment: Environment, store: Store) -> None:
    """Give the files to an environment that is there.

    :raises CommonwheelError: it cannot be written, or the store cannot be
    """
    install_wheels([], environment, store, additions=additions())


def are_in(site: Path) -> bool:
    """Whether the site-packages folder ``site`` has the files, of this commonwheel."""
    try:
        return all((site / name).read_bytes() == b for name, b in additions().items())
    except OSError:
        return False
