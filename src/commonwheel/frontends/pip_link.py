"""What the shared store does during ``pip install``. Imported only when it is on."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from pip._internal.exceptions import InstallationError
from pip._internal.locations import get_scheme
from pip._internal.operations.install import wheel as pip_wheel

from commonwheel.environment import Environment, Scheme, of_this_process
from commonwheel.errors import CommonwheelError
from commonwheel.frontends import settings
from commonwheel.install import WheelRequest, install_wheels
from commonwheel.maintenance.strays import remove_strays
from commonwheel.plan import Plan
from commonwheel.store import Store

_NEVER_LINKED = frozenset({"pip", "commonwheel"})
"""What it takes to mend an environment must not depend on the store."""

logger = logging.getLogger(__name__)


class Linker:
    """Installs single wheels for pip, into the environment pip runs in."""

    def __init__(self, store: str | None) -> None:
        """:raises InvalidStore: the store cannot be used"""
        self._store = Store(settings.store_path(store))

    def install(self, call: dict[str, Any]) -> bool:
        """Install a wheel as the arguments ``call`` of pip's own function say.

        Returns whether it was done; if not, pip's own function has to do it.

        :raises InstallationError: pip's error for "this distribution cannot be
            installed"; pip restores the one it has uninstalled before
        """
        if not _is_linkable(call):
            return False
        direct_url = call["direct_url"]
        request = WheelRequest(
            Path(call["wheel_path"]),
            requested=bool(call["requested"]),
            direct_url=direct_url.to_json() if direct_url is not None else None,
            header_folder=os.path.basename(call["scheme"].headers),
        )
        try:
            plan = install_wheels(
                [request],
                _environment(call),
                self._store,
                script_template=pip_wheel.PipScriptMaker.script_template,
            )
        except CommonwheelError as error:
            raise InstallationError(str(error)) from error
        except KeyboardInterrupt as error:
            # pip restores what it has uninstalled after an Exception only
            raise InstallationError("Operation cancelled by user") from error
        _report(plan, call)
        return True


def tidy() -> None:
    """Remove links from pip's own environment that no distribution in it owns."""
    try:
        remove_strays(_environment({"scheme": get_scheme("")}))
    except (CommonwheelError, OSError, ValueError) as error:
        logger.warning("links that are not used any more may be left: %s", error)


def _is_linkable(call: dict[str, Any]) -> bool:
    """Whether the store can serve a distribution; otherwise pip does as it always does."""
    if canonicalize_name(call["name"]) in _NEVER_LINKED:
        return False
    info = getattr(call["direct_url"], "info", None)
    if getattr(info, "editable", False):
        return False  # the wheel is made for this one installation
    # --target, --prefix, --root, --user and isolated builds have folders of their own.
    own, given = get_scheme(call["name"]), call["scheme"]
    folders = ("purelib", "platlib", "scripts", "headers", "data")
    return all(getattr(own, key) == getattr(given, key) for key in folders)


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
        logger.warning("%s is in %s and in %s; the latter's is used", path, earlier, later)
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
