"""Entries of a store written by hand, without a wheel, a store or a compiler."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from commonwheel import tree
from commonwheel.entry import Description, Entry, Script, StoredFile
from conftest import CACHE_TAG
from wheel_file import hash_and_size, render


def make_entry(
    store: Path,
    name: str,
    files: Mapping[str, str],
    version: str = "1.0",
    *,
    bytecode: bool = True,
    scripts: Mapping[str, str] | None = None,
    data: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    script_files: Mapping[str, str] | None = None,
    purelib: bool = True,
    opened: Iterable[str] = (),
    beside: tuple[str, ...] = (),
    above: tuple[str, ...] = (),
) -> Entry:
    """An entry of ``files``; ``bytecode`` is not compiled, but says what it is of.

    The folders ``opened`` are to be real ones in the view.
    """
    digest = hashlib.sha256(repr((name, version, sorted(files.items()))).encode())
    sha256 = digest.hexdigest()
    root = store / f"entries/{name}-{version}-{sha256[:8]}"
    dist_info = f"{name}-{version}.dist-info"
    metadata = {"METADATA": f"Name: {name}\nVersion: {version}\n", "WHEEL": ""}
    if not root.exists():
        write(root / "tree", files)
        write(root / "dist-info", metadata)
        write(root / "scripts", script_files or {})
        write(root / "headers", headers or {})
        write(root / "data", data or {})
        for path in files if bytecode else ():
            if path.endswith(".py"):
                write(root / "tree", {compiled(path): f"bytecode of {files[path]}"})
    described = {f"{dist_info}/{key}": value for key, value in metadata.items()}
    rows = [
        (key, *hash_and_size(value.encode()))
        for key, value in (files | described).items()
    ]
    description = Description(
        id=root.name,
        sha256=sha256,
        filename=f"{name}-{version}-py3-none-any.whl",
        name=name,
        version=version,
        dist_info=dist_info,
        root_is_purelib=purelib,
        tags=("py3-none-any",),
        links=tree.links((path for path in files if not tree.must_be_real(path)), opened),
        real=_stored({k: v for k, v in files.items() if tree.must_be_real(k)}),
        metadata=tuple(metadata),
        added=(),
        script_files=_stored(script_files or {}),
        headers=_stored(headers or {}),
        data=_stored(data or {}),
        scripts=tuple(
            Script(key, *value.split(":"), gui=False)
            for key, value in (scripts or {}).items()
        ),
        files=len(files),
        folders=len(tree.folders(files)),
        size=sum(map(len, files.values())),
        beside=beside,
        above=above,
        wanted=(),
    )
    parts: dict[str, Any] = {
        part: root / part.replace("_", "-")
        for part in ("tree", "dist_info", "scripts", "headers", "data")
    }
    return Entry(description, root, **parts, record=render(rows))


def compiled(path: str) -> str:
    folder, _, name = path.rpartition("/")
    place = f"__pycache__/{name.removesuffix('.py')}.{CACHE_TAG}.pyc"
    return f"{folder}/{place}" if folder else place


def write(root: Path, files: Mapping[str, str]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def _stored(files: Mapping[str, str]) -> tuple[StoredFile, ...]:
    return tuple(
        StoredFile(path, hash_and_size(content.encode())[0], len(content), False)
        for path, content in files.items()
    )
