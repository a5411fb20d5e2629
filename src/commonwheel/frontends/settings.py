"""Settings that all frontends share. Only frontends read them."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path

STORE = "COMMONWHEEL_STORE"
"""The environment variable that names the store's folder."""


def store_path(given: str | None) -> Path:
    """The store's folder: the given one, else ``COMMONWHEEL_STORE``, else the user's own.

    The last is a data folder, not a cache: environments depend on what is in it.
    """
    chosen = given or os.environ.get(STORE)
    if chosen:
        return Path(chosen).expanduser()
    return user_data_path("commonwheel") / "store"
