"""Dockerfiles, carried out without an engine: each stage is a root filesystem.

Just what the recipes of this project use is understood; anything else is an error.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from environments import run
from root_filesystem import Completed, RootFilesystem

Base = Callable[[str], RootFilesystem]
"""Makes the root filesystem of a base image, for a stage of that name."""


class Image:
    """What a stage has come to."""

    def __init__(self, root: RootFilesystem, variables: dict[str, str]) -> None:
        self.root = root
        self.variables = variables
        self.user = "0:0"
        self.command: list[str] = []

    def start(self, user: str | None = None) -> Completed:
        """What ``docker run`` does, with ``--user`` if it is given."""
        # nothing of the builder's
        return self.root.run(*self.command, user=user or self.user)


def build(
    text: str, context: Path, base: Base, caches: Path, variables: dict[str, str]
) -> Image:
    """The last stage of a Dockerfile. ``variables`` are set while it is built."""
    stages: dict[str, Image] = {}
    image: Image | None = None
    for number, (instruction, rest) in enumerate(_instructions(text)):
        if instruction == "FROM":
            _, _, name = rest.partition(" AS ")
            image = Image(base(name or f"stage-{number}"), dict(variables))
            stages[name] = image
            continue
        assert image is not None, "a Dockerfile starts with FROM"
        if instruction == "RUN":
            _run(image, rest, caches)
        elif instruction in ("COPY", "ADD"):
            _copy(image, rest, context, stages)
        elif instruction == "ENV":
            name, _, value = rest.partition("=")
            image.variables[name] = value
        elif instruction == "USER":
            image.user = f"{rest}:0"
        elif instruction == "CMD":
            image.command = json.loads(rest)
        else:
            raise ValueError(f"{instruction} is not carried out here")
    assert image is not None
    return image


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip():
            instruction, _, rest = line.partition(" ")
            yield instruction, rest.strip()


def _run(image: Image, rest: str, caches: Path) -> None:
    with ExitStack() as mounted:
        while rest.startswith("--mount="):
            option, _, rest = rest.partition(" ")
            given = dict(each.split("=") for each in option[len("--mount=") :].split(","))
            assert given["type"] == "cache"
            place = image.root.folder / given["target"].lstrip("/")
            kept = caches / given["target"].strip("/")
            for folder in (place, kept):
                folder.mkdir(parents=True, exist_ok=True)
            run(["mount", "--bind", kept, place])
            mounted.callback(place.rmdir)
            mounted.callback(run, ["umount", place])
        image.root.run(
            "sh", "-c", rest.strip(), user=image.user, variables=image.variables
        )


def _copy(image: Image, rest: str, context: Path, stages: dict[str, Image]) -> None:
    words = shlex.split(rest)
    if words[0].startswith("--from="):
        source = stages[words.pop(0)[len("--from=") :]].root.folder
    else:
        source = context
    what, where = words
    found = source / what.lstrip("/")
    target = image.root.folder / where.lstrip("/")
    if found.name.endswith(".tar.gz"):
        run(["tar", "-C", target, "-xf", found])  # as ADD does
    elif found.is_dir():
        shutil.copytree(found, target, symlinks=True, dirs_exist_ok=True)
    else:
        folder = target if where.endswith("/") else target.parent
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(found, target)
