"""Does what ``pip_client.py`` asks for, in commonwheel's interpreter, not in pip's.

The questions and answers, one line of JSON each, are described in ``pip_client.py``.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from packaging.utils import canonicalize_name

from commonwheel import installed, location, manifest, shortage
from commonwheel.apply import Applied
from commonwheel.environment import OLDEST, Environment, Scheme
from commonwheel.errors import CommonwheelError, explain
from commonwheel.frontends import settings
from commonwheel.frontends.pip_client import BUILD, PLAIN, PROTOCOL
from commonwheel.install import WheelRequest, install_wheels
from commonwheel.installation import INSTALLER
from commonwheel.link_mode import LinkChoice
from commonwheel.maintenance.strays import tidy
from commonwheel.plan import Plan
from commonwheel.registration import register
from commonwheel.store import Store

Message = dict[str, Any]


def serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    """Answer questions until there are no more."""
    service = _Service()
    signal.signal(signal.SIGINT, service.interrupt)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), service.end)
    for line in iter(questions.readline, b""):
        answer = service.answer_or_explain(json.loads(line))
        answers.write(json.dumps(answer).encode("ascii") + b"\n")
        answers.flush()


class _Service:
    """What one pip asks for. The first question opens the store."""

    def __init__(self) -> None:
        self._store: Store
        self._python: Message
        self._links: LinkChoice
        self._said: set[str] = set()
        self._never_linked: dict[Path, set[str]] = {}
        self._working = False

    def interrupt(self, *_: object) -> None:
        """Ctrl-C. Only what is being done is stopped, not the telling of it."""
        if self._working:
            self._working = False
            raise KeyboardInterrupt

    def end(self, number: int, *_: object) -> None:
        """Told to end by somebody else than pip: what is being done is taken back.

        pip is told as after Ctrl-C, and asks for nothing more.
        """
        if not self._working:
            raise SystemExit(128 + number)
        self.interrupt()

    def answer_or_explain(self, question: Message) -> Message:
        self._working = True
        try:
            return self._answer(question)
        except CommonwheelError as error:
            return {"error": str(error)}
        except OSError as error:
            return {"error": explain(error)}
        except MemoryError:
            return {"error": f"{shortage.MEMORY}; nothing was changed"}
        except ValueError as error:
            return {"error": str(error)}
        except KeyboardInterrupt:
            return {"interrupted": True}
        finally:
            self._working = False

    def _answer(self, question: Message) -> Message:
        if "protocol" in question:
            return self._open(question)
        if "tidy" in question:
            return self._tidy(question)
        return self._install(question)

    def _open(self, question: Message) -> Message:
        if question["protocol"] != PROTOCOL:
            reason = "another commonwheel served this environment"
            return {"error": f"{reason}; `commonwheel enable` it again"}
        if tuple(map(int, question["version"].split(".")[:2])) < OLDEST:
            return {"unsupported": f"Python {question['version']} cannot be linked into"}
        self._python = question
        self._store = settings.open_store(question["store"])
        self._links = settings.link_choice(question["link_mode"], question["real"])
        return {"store": str(self._store.root)}

    def _install(self, question: Message) -> Message:
        environment = self._environment(question["scheme"], question["python"])
        environment = replace(environment, plain=question["place"] == PLAIN)
        links = self._links
        if question["place"] == BUILD:
            links = links.anywhere()
        if not environment.plain and canonicalize_name(
            question["name"]
        ) in self._kept_real(environment):
            return {"linked": False}
        request = WheelRequest(
            Path(question["wheel"]),
            requested=question["requested"],
            direct_url=question["direct_url"],
            header_folder=os.path.basename(question["scheme"]["headers"]),
            installer="pip" if environment.plain else INSTALLER,
            bytecode=question["bytecode"],
            url=location.of_wheel(question.get("url")),
        )
        name = question["name"]
        before = _manifests(name, environment)
        try:
            done = install_wheels(
                [request],
                environment,
                self._store,
                links=links,
                script_template=self._python["template"],
            )
        except KeyboardInterrupt:
            if _manifests(name, environment) - before:
                # It came when all was done.
                return {"linked": True, "mode": "manifest", "said": [], "scripts": []}
            raise
        return {
            "linked": True,
            "mode": next(iter(done.modes.values())).value,
            "said": list(self._unsaid(done)),
            "scripts": _scripts(done.plan),
        }

    def _unsaid(self, done: Applied) -> Iterator[str]:
        """What pip is to warn of, nothing twice."""
        for remark in done.remarks():
            if remark not in self._said:
                self._said.add(remark)
                yield remark

    def _tidy(self, question: Message) -> Message:
        self._python = question
        environment = self._environment(question["tidy"], "")
        tidy(environment, settings.patience())
        register(environment, settings.patience())
        return {}

    def _environment(self, scheme: Message, python: str) -> Environment:
        return Environment(
            python=Path(python),
            version=self._python["version"],
            cache_tag=self._python["cache_tag"],
            scheme=Scheme(
                purelib=Path(scheme["purelib"]),
                platlib=Path(scheme["platlib"]),
                scripts=Path(scheme["scripts"]),
                headers=Path(scheme["headers"]).parent,
                data=Path(scheme["data"]),
            ),
        )

    def _kept_real(self, environment: Environment) -> set[str]:
        """What is never linked here (normalized names): what an environment is mended
        with when its store is gone. Found out once, for an installation only adds.
        """
        site = environment.sites[0]
        if site not in self._never_linked:
            names = installed.read(environment)
            needed = installed.needed_to_mend(environment, names)
            self._never_linked[site] = {"commonwheel", *needed}
        return self._never_linked[site]


def _manifests(name: str, environment: Environment) -> set[tuple[Path, int, int]]:
    """The link manifests of a distribution, each with what tells it from a later one."""
    found = set()
    for site in environment.sites:
        path = site / manifest.path_of(canonicalize_name(name))
        with suppress(FileNotFoundError):
            status = path.stat()
            found.add((path, status.st_ino, status.st_mtime_ns))
    return found


def _scripts(plan: Plan) -> list[str]:
    return [
        str(file.path)
        for installation in plan.installations
        for file in installation.files
        if file.executable
    ]
