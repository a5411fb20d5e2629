"""Settings that all frontends share. Only frontends read them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from packaging.utils import InvalidName, canonicalize_name
from platformdirs import user_data_path

from commonwheel import limits
from commonwheel.errors import InvalidSetting
from commonwheel.exclusion import Patience
from commonwheel.limits import Limits
from commonwheel.link_mode import LinkChoice, LinkMode
from commonwheel.store import Store

STORE = "COMMONWHEEL_STORE"
"""The environment variable that names the store's folder."""
LINK_MODE = "COMMONWHEEL_LINK_MODE"
"""The environment variable that says how distributions get into environments."""
REAL = "COMMONWHEEL_REAL"
"""The environment variable that names distributions to install as real files."""
LOCK_TIMEOUT = "COMMONWHEEL_LOCK_TIMEOUT"
"""The environment variable that says how long others are waited for, in seconds."""
SOURCE_DATE = "SOURCE_DATE_EPOCH"
"""The environment variable that says which time reproducible archives have."""
LINK_MODES = tuple(mode.value for mode in LinkMode)


def open_store(given: str | None) -> Store:
    """The store: the given one, else that of ``COMMONWHEEL_STORE``, else the user's own.

    The last is in a data folder, not in a cache: environments depend on what is in it.
    Several folders, with :data:`os.pathsep` between them, are a chain: what is in none of
    them is added to the first one that can be written.

    :raises InvalidStore: one of them is something else
    :raises InvalidSetting: how long to wait for others is no number, or how large
        wheels may be means nothing, or there is no home folder
    """
    chosen = given or os.environ.get(STORE, "")
    try:
        folders = [Path(each).expanduser() for each in chosen.split(os.pathsep) if each]
        roots = folders or [user_data_path("commonwheel") / "store"]
    except RuntimeError as error:  # there is none, of a user who is not known either
        home = os.environ.get("HOME", "")
        raise InvalidSetting("HOME", home, f"name the store by {STORE}") from error
    return Store(*roots, patience=patience(), limits=wheel_limits())


def wheel_limits() -> Limits:
    """How large wheels may be: the usual limits, but for ``COMMONWHEEL_WHEEL_LIMITS``.

    :raises InvalidSetting: it means nothing
    """
    text = os.environ.get(limits.VARIABLE, "")
    try:
        return limits.parse(text)
    except ValueError as error:
        raise InvalidSetting(limits.VARIABLE, text, str(error)) from error


def patience() -> Patience:
    """How long others are waited for: ``COMMONWHEEL_LOCK_TIMEOUT`` seconds; 0: not.

    A person is told of a long wait on standard error.

    :raises InvalidSetting: it is not a number
    """
    given = os.environ.get(LOCK_TIMEOUT, "").strip()
    if not given:
        return Patience(tell=_tell)
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", given):
        reason = "it is a number of seconds, 0 if nobody is to be waited for"
        raise InvalidSetting(LOCK_TIMEOUT, given, reason)
    return Patience(float(given), _tell)


def _tell(line: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # nobody reads it, which is no failure
            sys.stderr.write(f"commonwheel: {line}\n")
            sys.stderr.flush()


def name_of(store: Store) -> str:
    """What :func:`open_store` has to be given for the same store, or chain of stores."""
    return os.pathsep.join(map(str, (store.root, *(each.root for each in store.below))))


def inherited() -> dict[str, str]:
    """The variables that :func:`link_choice` reads, for a program that passes on none."""
    return {name: os.environ[name] for name in (LINK_MODE, REAL) if name in os.environ}


def link_choice(
    mode: str | None = None,
    real: Iterable[str] = (),
    variables: Mapping[str, str] = os.environ,
) -> LinkChoice:
    """How distributions get into environments.

    ``mode`` is one of :data:`LINK_MODES`, else ``COMMONWHEEL_LINK_MODE``, else link
    manifests. ``real`` are lists of names, separated by commas or spaces; those of
    ``COMMONWHEEL_REAL`` are added.

    :raises InvalidSetting: the variable names no link mode, or there is another name that
        no distribution can have
    """
    chosen = mode or variables.get(LINK_MODE) or LinkMode.MANIFEST.value
    if chosen not in LINK_MODES:
        reason = f"choose one of {', '.join(LINK_MODES)}"
        raise InvalidSetting(LINK_MODE, chosen, reason)
    names = re.split(r"[\s,]+", " ".join((*real, variables.get(REAL, ""))))
    return LinkChoice(LinkMode(chosen), frozenset(_normalized(n) for n in names if n))


def source_date(otherwise: int) -> int:
    """The time of all files in what is to be the same each time, since the epoch.

    In seconds: ``SOURCE_DATE_EPOCH``
    (https://reproducible-builds.org/specs/source-date-epoch/), if that is set.

    :raises InvalidSetting: it is not a number
    """
    given = os.environ.get(SOURCE_DATE)
    if not given:
        return otherwise
    if not given.isascii() or not given.isdigit():
        raise InvalidSetting(SOURCE_DATE, given, "it is a number of seconds")
    return int(given)


def _normalized(name: str) -> str:
    try:
        return canonicalize_name(name, validate=True)
    except InvalidName as error:
        reason = "that is not the name of a distribution"
        raise InvalidSetting("a name of real files", name, reason) from error
