"""``pip install --use-shared-store``: pip resolves and builds, commonwheel installs.

pip has no interface for this, so the names of its internals that are used here are
checked first, and a pip that lacks one of them is left alone: it then behaves as if
commonwheel were not installed. The seam is the function that installs one wheel,
``pip._internal.operations.install.wheel.install_wheel``, the same from pip 22.3 on but
for parameters that were added.
"""

from __future__ import annotations

import importlib
import inspect
import optparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from commonwheel.frontends.pip_link import Linker

_NEEDED = frozenset({"name", "wheel_path", "scheme", "direct_url", "requested"})
"""Parameters of ``install_wheel``."""

Options = Any  # optparse.Values: has an attribute for each option


def register(command_module: ModuleType) -> None:
    """Add the options to pip's ``install`` command, and what they do.

    ``command_module`` is ``pip._internal.commands.install``.
    """
    command: Any = getattr(command_module, "InstallCommand", None)
    seam = _find_seam()
    if seam is None or not _has_methods(command, "add_options", "run"):
        return
    add_options, run = command.add_options, command.run

    def add_options_and_ours(self: Any) -> None:
        add_options(self)
        _add_options(self.cmd_opts)

    def run_linking(self: Any, options: Options, args: list[str]) -> Any:
        if getattr(options, "use_shared_store", False):
            linker = _linker(options.shared_store_path)
            with seam.replaced(linker):
                status = run(self, options, args)
            linker.report()
            return status
        if getattr(options, "ignore_installed", False):
            with _tidying():
                return run(self, options, args)
        return run(self, options, args)

    command.add_options = add_options_and_ours
    command.run = run_linking


@contextmanager
def _tidying() -> Iterator[None]:
    """Afterwards, no link is left of a distribution that pip has written over.

    Without links in the environment nothing is imported, and nothing is done.
    """
    tidy: Callable[[], None] | None = None
    scheme = importlib.import_module("pip._internal.locations").get_scheme("")
    sites = {scheme.purelib, scheme.platlib}
    if any(os.path.isdir(os.path.join(site, "_commonwheel")) for site in sites):
        from commonwheel.frontends import pip_link

        tidy = pip_link.tidy
    yield
    if tidy is not None:
        tidy()


class Seam:
    """pip's function that installs one wheel, and the modules that call it by name."""

    def __init__(self, original: Callable[..., None], modules: list[ModuleType]) -> None:
        self.original = original
        self._modules = modules
        self._signature = inspect.signature(original)

    @contextmanager
    def replaced(self, linker: Linker) -> Iterator[None]:
        """While this lasts, wheels that can be linked are linked."""

        def install_wheel(*args: Any, **kwargs: Any) -> None:
            call = self._signature.bind(*args, **kwargs)
            call.apply_defaults()
            if not linker.install(call.arguments):
                self.original(*args, **kwargs)

        for module in self._modules:
            module.install_wheel = install_wheel  # type: ignore[attr-defined]
        try:
            yield
        finally:
            for module in self._modules:
                module.install_wheel = self.original  # type: ignore[attr-defined]


def _find_seam() -> Seam | None:
    try:
        installer = importlib.import_module("pip._internal.operations.install.wheel")
        requirement = importlib.import_module("pip._internal.req.req_install")
        locations = importlib.import_module("pip._internal.locations")
        exceptions = importlib.import_module("pip._internal.exceptions")
        original = installer.install_wheel
        template = installer.PipScriptMaker.script_template
        parameters = inspect.signature(original).parameters
        known = (
            parameters.keys() >= _NEEDED
            and isinstance(template, str)
            and callable(locations.get_scheme)
            and issubclass(exceptions.InstallationError, Exception)
            and issubclass(exceptions.CommandError, Exception)
        )
    except (ImportError, AttributeError, TypeError, ValueError):
        return None
    if not known:
        return None
    # Until pip 26.1 the caller binds the function when it is imported.
    callers = [installer]
    if getattr(requirement, "install_wheel", None) is original:
        callers.append(requirement)
    return Seam(original, callers)


def _has_methods(command: object, *names: str) -> bool:
    """Whether a class has methods of its own (pip would not call an inherited one)."""
    return all(callable(getattr(command, "__dict__", {}).get(name)) for name in names)


def _linker(path: str | None) -> Linker:
    # Not imported unless the option is on; and before pip starts to install, because
    # from then on pip 26.3 refuses every import.
    exceptions = importlib.import_module("pip._internal.exceptions")
    try:
        from commonwheel.errors import CommonwheelError
        from commonwheel.frontends.pip_link import Linker
    except ImportError as error:
        message = f"--use-shared-store: commonwheel is not usable: {error}"
        raise exceptions.CommandError(message) from error
    try:
        return Linker(path)
    except CommonwheelError as error:
        message = f"--use-shared-store: {error}"
        raise exceptions.CommandError(message) from error


def _add_options(group: optparse.OptionGroup) -> None:
    group.add_option(
        "--use-shared-store",
        dest="use_shared_store",
        action="store_true",
        default=False,
        help="Unpack wheels once, into a store that environments share, and link "
        "the environment to them (commonwheel).",
    )
    group.add_option(
        "--no-use-shared-store",
        dest="use_shared_store",
        action="callback",
        callback=_switch_off,
        help="Copy wheels into the environment, whatever a configuration file or "
        "PIP_USE_SHARED_STORE says.",
    )
    group.add_option(
        "--shared-store-path",
        dest="shared_store_path",
        metavar="dir",
        default=None,
        help="The folder of the shared store (default: COMMONWHEEL_STORE, or a folder "
        "of the user's data).",
    )


def _switch_off(
    option: optparse.Option, name: str, value: object, parser: optparse.OptionParser
) -> None:
    if value is not None:
        # pip would read PIP_NO_X=1 and `no-x = true` as the value 1 for X: "on"
        parser.error(
            "PIP_NO_USE_SHARED_STORE (or no-use-shared-store in a configuration file) "
            "has no meaning; to switch the shared store off there, set "
            "PIP_USE_SHARED_STORE=0 (use-shared-store = false)"
        )
    assert parser.values is not None
    parser.values.use_shared_store = False
