"""Asks commonwheel, in a process of its own, to do what pip wants done.

Runs inside pip, with ``pip_hook.py``, whose rules it follows: it stands alone, and
imports nothing later. commonwheel is ``pip_host.py``, beside this file, run by the
interpreter that has it; or what the file ``host`` says, where this one is a copy.

What is said to the host is one line of JSON, and so is each of its answers:

* ``{"protocol", "store", "link_mode", "real", "version", "cache_tag", "template"}`` ->
  ``{"store"}``, the store's folder; or ``{"unsupported"}``, a reason to copy; or
  ``{"error"}``.
* ``{"wheel", "name", "scheme", "place", "python", "requested", "direct_url",
  "bytecode", "url"}`` -> ``{"linked": true, "mode", "said", "scripts"}``: how it was
  done, what pip is to warn of, and the scripts; or ``{"linked": false}``: pip is to copy
  it; or ``{"error"}``; or ``{"interrupted": true}``. After the last two everything
  is as it was before.
* ``{"tidy": scheme, "version", "cache_tag"}`` -> ``{}`` or ``{"error"}``.
"""

from __future__ import annotations

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
    from collections.abc import Iterator

PROTOCOL = 2
"""Of what is said; raised when another commonwheel could not answer it rightly."""
SCHEME = ("purelib", "platlib", "scripts", "headers", "data")
ENVIRONMENT = "environment"
"""The place of a wheel that goes where pip puts things by default."""
BUILD = "build"
"""The place of one for an isolated build environment, which pip makes where it likes."""
PLAIN = "plain"
"""The place of one for folders of its own, those of ``--target`` and so on."""
_THIS_PYTHON = {
    "version": ".".join(map(str, sys.version_info[:3])),
    "cache_tag": sys.implementation.cache_tag,
}
_CANCELLED = "Operation cancelled by user"
_SIGKILL = 9

logger = logging.getLogger("pip._internal.commonwheel")


class HostError(Exception):
    """Commonwheel cannot be run, or refuses."""


class Host:
    """commonwheel, run by its own interpreter, for as long as one ``pip install``."""

    def __init__(self, python: str) -> None:
        """Start it. ``python`` has it, unless the file ``host`` names another.

        :raises HostError: it is not there any more, or does not start
        """
        command = _command(python)
        self._python = python
        self._cancelled = False
        self._done: dict[str, int] = {}
        self._opening: dict[str, Any] | None = None
        self.url: str | None = None
        """Where the wheel came from that is installed next, if that is known."""
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

    def open(self, store: str | None, link_mode: str | None, real: list[str]) -> None:
        """Let it open the store. It does so while pip finds out what to install."""
        template = pip_module("operations.install.wheel").PipScriptMaker.script_template
        self._say(
            {
                "protocol": PROTOCOL,
                "store": store,
                "link_mode": link_mode,
                "real": real,
                "template": template,
                **_THIS_PYTHON,
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

    def install(self, call: dict[str, Any], place: str) -> bool:
        """Install a wheel as the arguments ``call`` of pip's own function say.

        ``place`` is :data:`ENVIRONMENT`, :data:`BUILD` or :data:`PLAIN`. Returns whether
        it was done; if not, pip's own function has to do it.

        :raises InstallationError: pip's error for "this distribution cannot be
            installed"; pip restores the one it has uninstalled before
        """
        failed = pip_module("exceptions").InstallationError
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
                "scheme": fields(call["scheme"]),
                "place": place,
                "python": call.get("script_executable") or sys.executable,
                "requested": bool(call["requested"]),
                "direct_url": None if direct_url is None else direct_url.to_json(),
                "bytecode": bool(call.get("pycompile", True)),
                "url": self.url,
            }
        )
        if answer.get("stopped"):
            self._take_back(call["scheme"])
        if answer.get("interrupted"):
            # pip restores what it has uninstalled after an Exception only
            raise failed(_CANCELLED)
        if "error" in answer:
            raise failed(answer["error"])
        if answer["linked"]:
            self._done[answer["mode"]] = self._done.get(answer["mode"], 0) + 1
            _report(answer, call)
        return bool(answer["linked"])

    def _take_back(self, scheme: Any) -> None:
        """Let another process take back what one that was killed has done.

        pip restores what it has uninstalled before, and must find its place free.
        """
        with suppress(HostError), Host(self._python) as another:
            another.tidy(scheme)

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Say something, and wait for the answer.

        Ctrl-C meanwhile is passed on, and the answer says what became of it. If all was
        done when it came, pip must not restore what was replaced; nothing follows then.
        """
        with self._passing_on_interrupts():
            self._say(question)
            return self._hear()

    def tidy(self, scheme: Any) -> str | None:
        """Remove what uninstalling has left, and show what it had hidden.

        Returns what has kept it from that.
        """
        reason = self.ask({"tidy": fields(scheme), **_THIS_PYTHON}).get("error")
        return None if reason is None else str(reason)

    def _say(self, question: dict[str, Any]) -> None:
        with suppress(OSError):  # it has stopped, as will be heard
            self._in.write(json.dumps(question).encode("ascii") + b"\n")
            self._in.flush()

    def _hear(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._out.readline()))
        except ValueError:
            status = self._process.wait()
            reason = f"exit status {status}"
            if status < 0:
                reason = f"killed by signal {-status}"
            if status == -_SIGKILL:
                reason = "killed, as the system does when it is out of memory"
            return {"error": f"commonwheel stopped ({reason})", "stopped": True}

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
        store = self._opened()["store"] if self._done else ""
        for mode, count in self._done.items():
            what = f"{count} distribution{'' if count == 1 else 's'}"
            if mode == "manifest":
                logger.info("Linked %s to the store %s", what, store)
            else:
                logger.info("Installed %s from the store %s (%s)", what, store, mode)


def _command(python: str) -> list[str]:
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


def pip_module(module: str) -> Any:
    """A module of pip; it has been imported by now."""
    return sys.modules[f"pip._internal.{module}"]


def fields(scheme: Any) -> dict[str, str]:
    """A scheme of pip's as data. Its folder for headers is the distribution's own."""
    return {key: getattr(scheme, key) for key in SCHEME}


def _report(answer: dict[str, Any], call: dict[str, Any]) -> None:
    for said in answer["said"]:
        logger.warning("%s", said)
    installer = pip_module("operations.install.wheel")
    explain = getattr(installer, "message_about_scripts_not_on_PATH", None)
    if call.get("warn_script_location") and explain is not None:
        message = explain(answer["scripts"])
        if message:
            logger.warning(message)
