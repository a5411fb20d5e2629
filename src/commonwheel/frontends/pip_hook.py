"""``pip install --use-shared-store``: pip resolves and builds, commonwheel installs.

Runs inside pip. Loaded by ``_commonwheel_pip.py`` when pip imports its ``install``
command, from inside the package where commonwheel is installed, or as a verbatim copy
from the folder ``_commonwheel`` of an environment that commonwheel serves from outside.
So it stands alone, with ``pip_client.py`` beside it: the standard library and the pip it
runs in, nothing else. The work is done by commonwheel in a process of its own, which
``pip_client.py`` asks. Neither commonwheel nor what it needs is ever imported into pip,
or into the environment that pip serves.

pip has no interface for this, so the names of its internals that are used here are
checked first, and a pip that lacks one of them is left alone: it then behaves as if
commonwheel were not installed. The seam is the function that installs one wheel,
``pip._internal.operations.install.wheel.install_wheel``, the same from pip 22.3 on but
for parameters that were added.

From the start of the installation on pip 26.3 refuses every import, so both files have
theirs all at the head, but for pip's own, which pip has made by then.
"""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import os
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .pip_client import (
    BUILD,
    ENVIRONMENT,
    PLAIN,
    SCHEME,
    Host,
    HostError,
    pip_module,
)

if TYPE_CHECKING:
    import optparse
    from collections.abc import Callable, Iterator
    from types import ModuleType

_NEEDED = frozenset({"name", "wheel_path", "scheme", "direct_url", "requested"})
"""Parameters of ``install_wheel``."""
_EDITABLE = "_COMMONWHEEL_EDITABLE"
"""The environment variable that names wheels made by tox to be installed as editable."""
_BUILD = f"{os.sep}pip-build-env-"
"""In the path of every isolated build environment; pip removes it after the build."""

_LEFT = "links that are not used any more may be left: %s"

Options = Any  # optparse.Values: has an attribute for each option

logger = logging.getLogger("pip._internal.commonwheel")


def register(
    command_module: ModuleType, python: str, through_us: Callable[[Any], Any]
) -> None:
    """Add the options to pip's ``install`` command, and what they do.

    ``command_module`` is ``pip._internal.commands.install``; ``python`` the interpreter
    that has commonwheel, unless the file ``host`` names it; ``through_us`` makes a
    module of pip start pip again in a way that reaches this file.
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
        with _told_to_builds(options):
            if getattr(options, "use_shared_store", False):
                host = _open_host(python, options)
                beside = _beside_target(command_module, options)
                reaching, noting = _reaching_builds(through_us), _noting_urls(host)
                with host, reaching, noting, seam.replaced(host), beside:
                    status = run(self, options, args)
                    _tidy(host, _views())
                    host.report()
                    return status
            with _tidying(python, getattr(options, "ignore_installed", False)):
                return run(self, options, args)

    command.add_options = add_options_and_ours
    command.run = run_linking


def register_uninstall(
    command_module: ModuleType, python: str, through_us: Callable[[Any], Any]
) -> None:
    """Let pip's ``uninstall`` command leave whole what stays; see :func:`register`."""
    del through_us  # it starts no other pip
    command: Any = getattr(command_module, "UninstallCommand", None)
    try:
        importlib.import_module("pip._internal.locations")
    except ImportError:
        return
    if not _has_methods(command, "run"):
        return
    run = command.run

    def run_and_tidy(self: Any, options: Options, args: list[str]) -> Any:
        with _tidying(python):
            return run(self, options, args)

    command.run = run_and_tidy


class Seam:
    """pip's function that installs one wheel, and the modules that call it by name."""

    def __init__(self, original: Callable[..., None], modules: list[ModuleType]) -> None:
        self.original = original
        self._modules = modules
        self._signature = inspect.signature(original)

    @contextmanager
    def replaced(self, host: Host) -> Iterator[None]:
        """While this lasts, wheels that can be linked are linked."""

        def install_wheel(*args: Any, **kwargs: Any) -> None:
            call = self._signature.bind(*args, **kwargs)
            call.apply_defaults()
            arguments = call.arguments
            if _is_editable(arguments) or not host.install(
                arguments, _place_of(arguments)
            ):
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


def _is_editable(call: dict[str, Any]) -> bool:
    """Whether a wheel is made for this one installation: then pip does as ever."""
    direct_url = call["direct_url"]
    if direct_url is not None:
        # as text, because pip's objects for it have changed
        described = json.loads(direct_url.to_json())
        if described.get("dir_info", {}).get("editable"):
            return True
    # tox has made some, of which pip cannot know
    return call["wheel_path"] in os.environ.get(_EDITABLE, "").split(os.pathsep)


def _place_of(call: dict[str, Any]) -> str:
    """Where a wheel goes: :data:`ENVIRONMENT`, :data:`BUILD` or :data:`PLAIN`."""
    given = call["scheme"]
    if _BUILD in given.purelib:
        return BUILD
    own = pip_module("locations").get_scheme(call["name"])
    same = all(getattr(own, key) == getattr(given, key) for key in SCHEME)
    return ENVIRONMENT if same else PLAIN


@contextmanager
def _beside_target(command_module: ModuleType, options: Options) -> Iterator[None]:
    """While this lasts, pip makes what goes into ``--target`` on its filesystem.

    pip installs into a temporary folder and moves all from there. Between filesystems
    that is a copy, which shares nothing with the store any more. The temporary folder is
    in the target, or in the last folder above it that is there already.
    """
    target, temporary = options.target_dir, getattr(command_module, "TempDirectory", None)
    if not target or temporary is None:
        yield
        return
    there = os.path.abspath(target)
    while not os.path.isdir(there):
        there = os.path.dirname(there)
    if os.stat(there).st_dev == os.stat(tempfile.gettempdir()).st_dev:
        yield
        return

    def beside(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("kind") != "target":
            return temporary(*args, **kwargs)
        folder = tempfile.mkdtemp(dir=there, prefix=".pip-target-")
        return temporary(path=folder, delete=True, kind="target")

    command_module.TempDirectory = beside  # type: ignore[attr-defined]
    try:
        yield
    finally:
        command_module.TempDirectory = temporary  # type: ignore[attr-defined]


@contextmanager
def _told_to_builds(options: Options) -> Iterator[None]:
    """What was decided on the command line holds for pip's isolated builds too.

    pip starts itself for them, without the options that it does not know.
    """
    told = {}
    if getattr(options, "shared_store_refused", False):
        told["PIP_USE_SHARED_STORE"] = "0"
    elif getattr(options, "use_shared_store", False):
        told["PIP_USE_SHARED_STORE"] = "1"
        if options.shared_store_path:
            folders = options.shared_store_path.split(os.pathsep)
            told["PIP_SHARED_STORE_PATH"] = os.pathsep.join(map(os.path.abspath, folders))
        if options.shared_store_link_mode:
            told["PIP_SHARED_STORE_LINK_MODE"] = options.shared_store_link_mode
        if options.shared_store_real:
            told["PIP_SHARED_STORE_REAL"] = " ".join(options.shared_store_real)
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _noting_urls(host: Host) -> Iterator[None]:
    """While this lasts, the host knows where each wheel came from.

    The function that installs one is not told. Nothing else depends on it.
    """
    requirement: Any = getattr(pip_module("req.req_install"), "InstallRequirement", None)
    if not _has_methods(requirement, "install"):
        yield
        return
    install = requirement.install

    def install_noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        # where pip has taken it from its cache, `link` is a file there
        link = getattr(self, "original_link", None) or getattr(self, "link", None)
        host.url = getattr(link, "url_without_fragment", None)
        try:
            return install(self, *args, **kwargs)
        finally:
            host.url = None

    requirement.install = install_noting
    try:
        yield
    finally:
        requirement.install = install


@contextmanager
def _reaching_builds(through_us: Callable[[Any], Any]) -> Iterator[None]:
    """While this lasts, isolated builds are reached whatever interpreter they have."""
    callers = ("pip._internal.build_env", "pip._internal.build_env.installer")
    modules = [sys.modules[name] for name in callers if name in sys.modules]
    undo = [through_us(each) for each in modules if hasattr(each, "get_runnable_pip")]
    try:
        yield
    finally:
        for take_back in undo:
            take_back()


@contextmanager
def _tidying(python: str, written_over: bool = False) -> Iterator[None]:
    """Afterwards nothing is left of linked distributions that pip has removed.

    ``written_over``: pip may have copied one over a linked one, without removing that.
    Where there is nothing to do nothing is asked of anybody.
    """
    views = _views()
    yield
    if views and (written_over or any(map(_hides_in_vain, views))):
        try:
            with Host(python) as host:
                _tidy(host, views, written_over)
        except HostError as error:
            logger.warning(_LEFT, error)


def _tidy(host: Host, views: list[str], written_over: bool = False) -> None:
    if written_over or any(map(_hides_in_vain, views)):
        reason = host.tidy(pip_module("locations").get_scheme(""))
        if reason is not None:
            logger.warning(_LEFT, reason)


def _views() -> list[str]:
    """The folders with links in this environment."""
    scheme = pip_module("locations").get_scheme("")
    sites = {scheme.purelib, scheme.platlib}
    views = [os.path.join(site, "_commonwheel", "view") for site in sites]
    return [view for view in views if os.path.isdir(view)]


def _hides_in_vain(view: str) -> bool:
    """Whether a link waits for a place (``.NAME.FILE.kept``) that is free."""
    for _, folders, files in os.walk(view):
        there = {*folders, *files}
        for name in there:
            if name.startswith(".") and name.endswith(".kept"):
                place = name[1 : -len(".kept")].partition(".")[2]
                if place not in there:
                    return True
    return False


def _open_host(python: str, options: Options) -> Host:
    """Start commonwheel and let it open its store."""
    try:
        host = Host(python)
    except HostError as error:
        failed = pip_module("exceptions").CommandError
        raise failed(f"--use-shared-store: {error}") from error
    host.open(
        options.shared_store_path,
        options.shared_store_link_mode,
        options.shared_store_real,
    )
    return host


def _add_options(group: optparse.OptionGroup) -> None:
    if group.has_option("--use-shared-store"):
        return  # another copy of this file was first
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
        "of the user's data). Several folders, separated as in PATH, are a chain: what "
        "is in none of them is added to the first that can be written.",
    )
    group.add_option(
        "--shared-store-link-mode",
        dest="shared_store_link_mode",
        metavar="mode",
        type="choice",
        choices=["manifest", "auto", "reflink", "hardlink", "copy"],
        default=None,
        help="How distributions get from the shared store into the environment: "
        "manifest (links, the default), or real files: reflink, hardlink, copy, or auto "
        "for the first of these that works.",
    )
    group.add_option(
        "--shared-store-real",
        dest="shared_store_real",
        metavar="names",
        action="append",
        default=[],
        help="Install these distributions as real files, whatever the link mode.",
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
    parser.values.shared_store_refused = True
