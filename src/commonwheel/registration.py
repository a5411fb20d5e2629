"""Registration: an environment that has moved is known again where it is now."""

from __future__ import annotations

import os

from commonwheel.environment import Environment
from commonwheel.exclusion import Patience
from commonwheel.registry import stores_of
from commonwheel.store import Store


def register(
    environment: Environment,
    patience: Patience = Patience(),  # noqa: B008  frozen
) -> None:
    """Tell the stores whose entries ``environment`` holds that it is there.

    Whoever links entries into an environment registers it; this is for one that was moved
    or copied since. A store that is not there, or cannot be written, is not told.

    :raises StoreBusy: somebody collects in one, and takes too long
    :raises InvalidStore: a store cannot be used, or telling it failed
    :raises ValueError: a link manifest is damaged; names it
    :raises OSError: the environment cannot be read
    """
    for folder, held in stores_of(environment).items():
        # asked first: one that cannot be entered cannot even be looked into
        if os.access(folder, os.W_OK) and (folder / "format").is_file():
            store = Store(folder, patience=patience)
            if store.can_be_written and not store.registry.knows(environment):
                with store.in_use():
                    store.registry.remember(environment, held)
