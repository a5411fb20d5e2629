"""Wheels written by hand, right ones and wrong ones.

``write_wheel(folder, {"six.py": "x = 1"})`` writes a right one. What can be wrong with
one is an argument each. The builder knows nothing of the code under test.
"""

from __future__ import annotations

import base64
import hashlib
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

Files = Mapping[str, "str | bytes"]
Rows = list["tuple[str, str, str]"]


def write_wheel(
    folder: Path,
    files: Files,
    name: str = "sample",
    version: str = "1.0",
    *,
    tag: str = "py3-none-any",
    purelib: bool = True,
    metadata: Mapping[str, str | bytes | None] | None = None,
    executable: Collection[str] = (),
    edit_record: Callable[[Rows], Rows] = list,
    extra: Iterable[tuple[str | zipfile.ZipInfo, str | bytes]] = (),
    file_name: str | None = None,
    record_name: str | None = None,
) -> Path:
    """Write a wheel of ``files`` (archive names and contents); gives its path.

    ``metadata`` adds to the ``.dist-info`` folder, or replaces or (None) omits what is
    in it; ``executable`` are names of ``files``; ``edit_record`` gets the true rows;
    ``extra`` members are not in RECORD.
    """
    dist_info = f"{name}-{version}.dist-info"
    standard: dict[str, str | bytes | None] = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: hand\n"
        f"Root-Is-Purelib: {str(purelib).lower()}\nTag: {tag}\n",
    }
    standard.update(metadata or {})
    described = {f"{dist_info}/{key}": value for key, value in standard.items()}
    members = {
        key: value.encode() if isinstance(value, str) else value
        for key, value in {**files, **described}.items()
        if value is not None
    }
    record = record_name or f"{dist_info}/RECORD"
    rows = [(key, *hash_and_size(value)) for key, value in members.items()]
    path = folder / (file_name or f"{name}-{version}-{tag}.whl")
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, value in members.items():
            archive.writestr(_member(key, key in executable), value)
        if "RECORD" not in standard:
            text = render(edit_record([*rows, (record, "", "")]))
            archive.writestr(_member(record, False), text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # duplicate names are what is wanted
            for member, value in extra:
                archive.writestr(member, value)
    return path


def hash_and_size(content: bytes, algorithm: str = "sha256") -> tuple[str, str]:
    """The second and third column of RECORD."""
    digest = hashlib.new(algorithm, content).digest()
    value = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    return f"{algorithm}={value}", str(len(content))


def render(rows: Rows) -> str:
    return "".join(",".join(map(_quoted, row)) + "\n" for row in rows)


def _quoted(text: str) -> str:
    """A value, whatever is in it: `csv` of Python 3.10 refuses to write NUL."""
    quoted = text.replace('"', '""')
    return f'"{quoted}"' if set(text) & set(',"\r\n\0') else text


def _member(name: str, executable: bool) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (0o100755 if executable else 0o100644) << 16
    return info


def change_hash(name: str) -> Callable[[Rows], Rows]:
    """For ``edit_record``: a wrong hash for one file."""
    wrong = hash_and_size(b"something else")[0]
    return lambda rows: [(n, wrong if n == name else h, s) for n, h, s in rows]
