"""What pip, uv and its interpreter say of an environment, as facts.

A fact is a path-like name and a value, in which the environment's own folder reads
``<env>``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from environments import Environment

PROBE = Path(__file__).with_name("probe.py").read_text()

Facts = dict[str, Any]
Pairs = Iterator[tuple[str, Any]]


def of_interpreter(
    environment: Environment, request: dict[str, Any], **variables: str
) -> Facts:
    """The answer of ``probe.py`` in a fresh interpreter."""
    command = [environment.python, "-c", PROBE, json.dumps(request)]
    answer = environment.run(*command, variables=variables, timeout=120)
    facts: Facts = json.loads(answer.stdout)
    return facts


def bytecode(environment: Environment) -> set[str]:
    """The bytecode files in an environment and in its store."""
    return {
        os.path.join(current, name)
        for root in (environment.path, environment.store)
        for current, _, files in os.walk(root)
        for name in files
        if name.endswith(".pyc")
    }


def of_tools(environment: Environment, uv: str, names: list[str]) -> Facts:
    """Everything that pip and uv report of the distributions ``names``."""
    pip = [environment.python, "-m", "pip"]
    there = ["--python", environment.python]
    commands: dict[str, tuple[list[Any], Callable[[str], Pairs]]] = {
        "pip list": ([*pip, "list", "-v", "--format=json"], _table),
        "pip freeze": ([*pip, "freeze", "--all"], _lines),
        "pip check": ([*pip, "check"], _lines),
        "pip show": ([*pip, "show", "-v", "-f", *names], _descriptions),
        "pip inspect": ([*pip, "inspect"], _inspection),
        "pip uninstall": ([*pip, "uninstall", *names], _removals),
        "uv pip list": ([uv, "pip", "list", "--format=json", *there], _table),
        "uv pip freeze": ([uv, "pip", "freeze", *there], _lines),
        "uv pip check": ([uv, "pip", "check", *there], _lines),
        "uv pip show": ([uv, "pip", "show", "-f", *there, *names], _descriptions),
        "uv pip tree": ([uv, "pip", "tree", *there], _lines),
    }
    found: Facts = {}
    for title, (command, parse) in commands.items():
        no = "n\n" * len(names)  # to what `pip uninstall` asks
        answer = environment.run(*command, check=False, input=no)
        found[f"{title} > exit status"] = answer.returncode
        for key, value in parse(_without_times(answer.stdout, environment)):
            found[f"{title} > {key}"] = value
        complaints = _without_times(answer.stderr, environment)
        found[f"{title} > complaints"] = sorted(complaints.splitlines())
    return found


def _without_times(text: str, environment: Environment) -> str:
    text = text.replace(str(environment.path), "<env>")
    return re.sub(r"\b[\d.]+ ?m?s\b", "TIME", text)


def _lines(text: str) -> Pairs:
    yield "text", text.splitlines()


def _table(text: str) -> Pairs:
    for row in json.loads(text):
        yield row.pop("name"), row


def _descriptions(text: str) -> Pairs:
    """``Field: value`` lines; what is listed under ``Files:`` one by one."""
    for part in re.split(r"^---\n", text, flags=re.MULTILINE):
        name = next(iter(re.findall(r"^Name: (.*)$", part, re.MULTILINE)), "?")
        fields, _, files = part.partition("\nFiles:\n")
        yield f"{name} > fields", fields.splitlines()
        for file in files.splitlines():
            yield f"{name} > file {file.strip()}", True


def _inspection(text: str) -> Pairs:
    report = json.loads(text)
    for found in report.pop("installed"):
        name = found["metadata"]["name"]
        for key, value in found.items():
            yield f"{name} > {key}", value
    yield "about", report


def _removals(text: str) -> Pairs:
    """What would be removed, path by path."""
    name, part = "?", "?"
    for line in text.splitlines():
        header = re.search(r"Found existing installation: (\S+)", line)
        name = header[1] if header else name
        if line.startswith("  Would "):
            part = line.strip()
        elif line.startswith("    "):
            yield f"{name} > {part} {line.strip()}", True
