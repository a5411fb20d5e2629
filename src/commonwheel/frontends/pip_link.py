"""What the shared store does during ``pip install``. Imported only when there is need."""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pip._internal.exceptions import InstallationError
from pip._internal.locations import get_scheme
from pip._internal.operations.install import wheel as pip_wheel

from commonwheel import manifest
from commonwheel.environment import Environment, Scheme, of_this_process
from commonwheel.errors import CommonwheelError
from commonwheel.frontends import settings
from commonwheel.install import WheelRequest, install_wheels
from commonwheel.maintenance.strays import remove_strays
from commonwheel.plan import Plan
from commonwheel.store import Store

_CANCELLED = "Operation cancelled by user"

logger = logging.getLogger(__name__)


class Linker:
    """Installs single wheels for pip, into the environment pip runs in."""

    def __init__(self, store: str | None) -> None:
        """:raises InvalidStore: the store cannot be used"""
        self._store = Store(settings.store_path(store))
        # found out now: pip blocks imports while it installs
        self._never_linked = {"pip", *_with_requirements("commonwheel")}
        self._cancelled = False
        self._linked = 0

    def install(self, call: dict[str, Any]) -> bool:
        """Install a wheel as the arguments ``call`` of pip's own function say.

        Returns whether it was done; if not, pip's own function has to do it.

        :raises InstallationError: pip's error for "this distribution cannot be
            installed"; pip restores the one it has uninstalled before
        """
        if canonicalize_name(call["name"]) in self._never_linked:
            return False  # it takes that to mend an environment whose store is gone
        if not _is_linkable(call):
            return False
        if self._cancelled:
            raise InstallationError(_CANCELLED)
        direct_url = call["direct_url"]
        request = WheelRequest(
            Path(call["wheel_path"]),
            requested=bool(call["requested"]),
            direct_url=direct_url.to_json() if direct_url is not None else None,
            header_folder=os.path.basename(call["scheme"].headers),
        )
        environment = _environment(call)
        before = _manifests(call["name"], environment)
        try:
            plan = install_wheels(
                [request],
                environment,
                self._store,
                script_template=pip_wheel.PipScriptMaker.script_template,
            )
        except CommonwheelError as error:
            raise InstallationError(str(error)) from error
        except KeyboardInterrupt as error:
            if _manifests(call["name"], environment) - before:
                # It came when all was done, and pip must not restore what was replaced;
                # there will be nothing after this one.
                self._cancelled = True
                return True
            # pip restores what it has uninstalled after an Exception only
            raise InstallationError(_CANCELLED) from error
        self._linked += 1
        _report(plan, call)
        return True

    def report(self) -> None:
        """Say what was done, as pip says what it has installed."""
        if self._linked:
            what = f"{self._linked} distribution{'' if self._linked == 1 else 's'}"
            logger.info("Linked %s to the store %s", what, self._store.root)


def tidy() -> None:
    """Remove links from pip's own environment that no distribution in it owns."""
    try:
        remove_strays(_environment({"scheme": get_scheme("")}))
    except (CommonwheelError, OSError, ValueError) as error:
        logger.warning("links that are not used any more may be left: %s", error)


def _with_requirements(name: str) -> set[str]:
    """A distribution and all that it requires here (normalized names)."""
    found: set[str] = set()
    pending = [name]
    while pending:
        name = canonicalize_name(pending.pop())
        if name not in found:
            found.add(name)
            with suppress(metadata.PackageNotFoundError):
                wanted = map(Requirement, metadata.requires(name) or ())
                pending += [each.name for each in wanted if _applies(each)]
    return found


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _is_linkable(call: dict[str, Any]) -> bool:
    """Whether the store can serve a distribution; otherwise pip does as ever."""
    direct_url = call["direct_url"]
    if direct_url is not None:
        # as text, because pip's objects for it have changed
        described = json.loads(direct_url.to_json())
        if described.get("dir_info", {}).get("editable"):
            return False  # the wheel is made for this one installation
    # --target, --prefix, --root, --user and isolated builds have folders of their own.
    own, given = get_scheme(call["name"]), call["scheme"]
    folders = ("purelib", "platlib", "scripts", "headers", "data")
    return all(getattr(own, key) == getattr(given, key) for key in folders)


def _manifests(name: str, environment: Environment) -> set[tuple[Path, int, int]]:
    """The link manifests of a distribution, each with what tells it from a later one."""
    found = set()
    for site in environment.sites:
        path = site / manifest.path_of(canonicalize_name(name))
        with suppress(FileNotFoundError):
            status = path.stat()
            found.add((path, status.st_ino, status.st_mtime_ns))
    return found


def _environment(call: dict[str, Any]) -> Environment:
    scheme = call["scheme"]
    return of_this_process(
        Scheme(
            purelib=Path(scheme.purelib),
            platlib=Path(scheme.platlib),
            scripts=Path(scheme.scripts),
            headers=Path(scheme.headers).parent,
            data=Path(scheme.data),
        ),
        Path(call.get("script_executable") or sys.executable),
    )


def _report(plan: Plan, call: dict[str, Any]) -> None:
    for path, earlier, later in plan.overridden:
        message = "%s is in %s and in %s; the latter's is used"
        logger.warning(message, path, earlier, later)
    explain = getattr(pip_wheel, "message_about_scripts_not_on_PATH", None)
    if call.get("warn_script_location") and explain is not None:
        scripts = [
            str(file.path)
            for installation in plan.installations
            for file in installation.files
            if file.executable
        ]
        message = explain(scripts)
        if message:
            logger.warning(message)
