"""``pip install --use-shared-store``: pip resolves and builds, commonwheel installs.

Runs inside pip. Loaded by ``_commonwheel_pip.py`` when pip imports its ``install``
command, from inside the package where commonwheel is installed, or as a verbatim copy
from the folder ``_commonwheel`` of an environment that commonwheel serves from outside.
So it stands alone: the standard library and the pip it runs in, nothing else. The work
is done by ``pip_host.py``, run by commonwheel's own interpreter; which one that is says
the file ``host`` beside this one, or else it is this interpreter. Neither commonwheel
nor what it needs is ever imported into pip, or into the environment that pip serves.

pip has no interface for this, so the names of its internals that are used here are
checked first, and a pip that lacks one of them is left alone: it then behaves as if
commonwheel were not installed. The seam is the function that installs one wheel,
``pip._internal.operations.install.wheel.install_wheel``, the same from pip 22.3 on but
for parameters that were added.

From the start of the installation on pip 26.3 refuses every import, so this file has
them all at its head, but for pip's own, which pip has made by then.

What is said to the host is one line of JSON, and so is each of its answers:

* ``{"protocol", "store", "version", "cache_tag", "template"}`` -> ``{"store"}``, the
  store's folder; or ``{"unsupported"}``, a reason to copy; or ``{"error"}``.
* ``{"wheel", "name", "scheme", "python", "requested", "direct_url"}``
  -> ``{"linked": true, "overridden", "scripts"}``; or ``{"linked": false}``: pip is to
  copy it; or ``{"error"}``; or ``{"interrupted": true}``. After the last two everything
  is as it was before.
* ``{"tidy": scheme}`` -> ``{}`` or ``{"error"}``.
"""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optparse
    from collections.abc import Callable, Iterator
    from types import ModuleType

PROTOCOL = 1
_NEEDED = frozenset({"name", "wheel_path", "scheme", "direct_url", "requested"})
"""Parameters of ``install_wheel``."""
_SCHEME = ("purelib", "platlib", "scripts", "headers", "data")
_EDITABLE = "_COMMONWHEEL_EDITABLE"
"""The environment variable that names wheels made by tox to be installed as editable."""
_CANCELLED = "Operation cancelled by user"
_BUILD = f"{os.sep}pip-build-env-"
"""In the path of every isolated build environment; pip removes it after the build."""

Options = Any  # optparse.Values: has an attribute for each option

logger = logging.getLogger("pip._internal.commonwheel")


class HostError(Exception):
    """Commonwheel cannot be run, or refuses."""


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
                host = _open_host(python, options.shared_store_path)
                with host, _reaching_builds(through_us), seam.replaced(host):
                    status = run(self, options, args)
                    host.report()
                    return status
            if getattr(options, "ignore_installed", False):
                with _tidying(python):
                    return run(self, options, args)
            return run(self, options, args)

    command.add_options = add_options_and_ours
    command.run = run_linking


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
            if not _is_linkable(call.arguments) or not host.install(call.arguments):
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


def _is_linkable(call: dict[str, Any]) -> bool:
    """Whether the store can serve a distribution; otherwise pip does as ever."""
    direct_url = call["direct_url"]
    if direct_url is not None:
        # as text, because pip's objects for it have changed
        described = json.loads(direct_url.to_json())
        if described.get("dir_info", {}).get("editable"):
            return False  # the wheel is made for this one installation
    if call["wheel_path"] in os.environ.get(_EDITABLE, "").split(os.pathsep):
        return False  # so is this, but pip cannot know
    given = call["scheme"]
    if _BUILD in given.purelib:
        return True
    # --target, --prefix, --root and --user have folders of their own.
    own = _pip("locations").get_scheme(call["name"])
    return all(getattr(own, key) == getattr(given, key) for key in _SCHEME)


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
            told["PIP_SHARED_STORE_PATH"] = os.path.abspath(options.shared_store_path)
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
def _tidying(python: str) -> Iterator[None]:
    """Afterwards, no link is left of a distribution that pip has written over.

    Without links in the environment nothing is asked of anybody.
    """
    scheme = _pip("locations").get_scheme("")
    views = [
        os.path.join(site, "_commonwheel", "view")
        for site in {scheme.purelib, scheme.platlib}
    ]
    yield
    if any(map(os.path.isdir, views)):
        try:
            with Host(_host_command(python)) as host:
                reason = host.ask({"tidy": _fields(scheme)}).get("error")
        except HostError as error:
            reason = str(error)
        if reason:
            message = "links that are not used any more may be left: %s"
            logger.warning(message, reason)


def _open_host(python: str, store: str | None) -> Host:
    """Start commonwheel and let it open its store."""
    try:
        host = Host(_host_command(python))
    except HostError as error:
        failed = _pip("exceptions").CommandError
        raise failed(f"--use-shared-store: {error}") from error
    host.open(store)
    return host


def _host_command(python: str) -> list[str]:
    """How commonwheel is run.

    :raises HostError: it is not there any more
    """
    folder = os.path.dirname(os.path.abspath(__file__))
    script = os.path.join(folder, "pip_host.py")
    try:
        with open(os.path.join(folder, "host"), encoding="utf-8") as file:
            described = json.load(file)
        python, script = described["python"], described["script"]
    except FileNotFoundError:
        pass
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise HostError(f"{folder}{os.sep}host is damaged ({error})") from error
    for path in (python, script):
        if not os.path.exists(path):
            command = f"commonwheel enable {shlex.quote(sys.prefix)}"
            way_out = f"`{command}` puts another in its place"
            raise HostError(f"commonwheel is gone from {path}; {way_out}")
    quiet = ["-B"] if sys.dont_write_bytecode else []
    return [python, "-I", *quiet, script]


class Host:
    """commonwheel, run by its own interpreter, for as long as one ``pip install``."""

    def __init__(self, command: list[str]) -> None:
        """Start it.

        :raises HostError: it does not start
        """
        self._cancelled = False
        self._linked = 0
        self._opening: dict[str, Any] | None = None
        try:
            # Ctrl-C is for pip, which passes it on when there is something to stop.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise HostError(f"{command[0]} does not run ({error.strerror})") from error

    def __enter__(self) -> Host:  # noqa: PYI034  `Self` is younger than this file's Pythons
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let it end."""
        with suppress(OSError):  # it has ended already
            self._in.close()
        self._process.wait()
        self._out.close()

    def open(self, store: str | None) -> None:
        """Let it open the store. It does so while pip finds out what to install."""
        template = _pip("operations.install.wheel").PipScriptMaker.script_template
        self._say(
            {
                "protocol": PROTOCOL,
                "store": store,
                "version": ".".join(map(str, sys.version_info[:3])),
                "cache_tag": sys.implementation.cache_tag,
                "template": template,
            }
        )

    def _opened(self) -> dict[str, Any]:
        """What it has said to that."""
        if self._opening is None:
            with self._passing_on_interrupts():
                self._opening = self._hear()
            if "unsupported" in self._opening:
                message = "--use-shared-store: %s; packages are copied"
                logger.warning(message, self._opening["unsupported"])
        return self._opening

    def install(self, call: dict[str, Any]) -> bool:
        """Install a wheel as the arguments ``call`` of pip's own function say.

        Returns whether it was done; if not, pip's own function has to do it.

        :raises InstallationError: pip's error for "this distribution cannot be
            installed"; pip restores the one it has uninstalled before
        """
        failed = _pip("exceptions").InstallationError
        opening = self._opened()
        if self._cancelled:
            raise failed(_CANCELLED)
        if "error" in opening:
            raise failed(f"--use-shared-store: {opening['error']}")
        if "unsupported" in opening:
            return False
        direct_url = call["direct_url"]
        answer = self.ask(
            {
                "wheel": os.path.abspath(call["wheel_path"]),
                "name": call["name"],
                "scheme": _fields(call["scheme"]),
                "python": call.get("script_executable") or sys.executable,
                "requested": bool(call["requested"]),
                "direct_url": None if direct_url is None else direct_url.to_json(),
            }
        )
        if answer.get("interrupted"):
            # pip restores what it has uninstalled after an Exception only
            raise failed(_CANCELLED)
        if "error" in answer:
            raise failed(answer["error"])
        if answer["linked"]:
            self._linked += 1
            _report(answer, call)
        return bool(answer["linked"])

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Say something, and wait for the answer.

        Ctrl-C meanwhile is passed on, and the answer says what became of it. If all was
        done when it came, pip must not restore what was replaced; nothing follows then.
        """
        with self._passing_on_interrupts():
            self._say(question)
            return self._hear()

    def _say(self, question: dict[str, Any]) -> None:
        with suppress(OSError):  # it has stopped, as will be heard
            self._in.write(json.dumps(question).encode("ascii") + b"\n")
            self._in.flush()

    def _hear(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._out.readline()))
        except ValueError:
            status = self._process.wait()
            return {"error": f"commonwheel stopped (exit status {status})"}

    @contextmanager
    def _passing_on_interrupts(self) -> Iterator[None]:
        def pass_on(*_: object) -> None:
            self._cancelled = True
            if os.name == "posix":
                self._process.send_signal(signal.SIGINT)

        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            yield  # as where a shell has put pip into the background
            return
        try:
            before = signal.signal(signal.SIGINT, pass_on)
        except ValueError:
            yield  # not the main thread, which alone is interrupted
            return
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @property
    def _in(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _out(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def report(self) -> None:
        """Say what was done, as pip says what it has installed."""
        if self._linked:
            what = f"{self._linked} distribution{'' if self._linked == 1 else 's'}"
            logger.info("Linked %s to the store %s", what, self._opened()["store"])


def _pip(module: str) -> Any:
    """A module of pip; it has been imported by now."""
    return sys.modules[f"pip._internal.{module}"]


def _fields(scheme: Any) -> dict[str, str]:
    """A scheme of pip's as data. Its folder for headers is the distribution's own."""
    return {key: getattr(scheme, key) for key in _SCHEME}


def _report(answer: dict[str, Any], call: dict[str, Any]) -> None:
    for path, earlier, later in answer["overridden"]:
        message = "%s is in %s and in %s; the latter's is used"
        logger.warning(message, path, earlier, later)
    installer = _pip("operations.install.wheel")
    explain = getattr(installer, "message_about_scripts_not_on_PATH", None)
    if call.get("warn_script_location") and explain is not None:
        message = explain(answer["scripts"])
        if message:
            logger.warning(message)


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
    parser.values.shared_store_refused = True
