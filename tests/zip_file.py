"""Zip archives written byte by byte, right ones and wrong ones, and wheels made of them.

Knows nothing of the code under test, nor of the standard library's :mod:`zipfile`, which
would not write most of this.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from wheel_file import Rows, hash_and_size, render

STORED, DEFLATED = 0, 8
STREAMED, UTF8 = 0x0008, 0x0800
FULL = 0xFFFFFFFF
FILE, FOLDER = 0o100644, 0o040755

Override = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """A member; what its headers say wrongly is in ``local`` and ``central``."""

    name: str | bytes
    content: bytes = b""
    method: int = DEFLATED
    flags: int = 0
    mode: int | None = None
    """If it is not the usual one of a file or a folder."""
    msdos: int = 0
    """Its attributes there."""
    data: bytes | None = None
    """As it lies in the archive, if not the contents rightly packed."""
    descriptor: bytes | None = None
    before: bytes = b""
    local: Override = field(default_factory=dict)
    central: Override = field(default_factory=dict)

    @property
    def raw(self) -> bytes:
        return self.name if isinstance(self.name, bytes) else self.name.encode()

    @property
    def attributes(self) -> int:
        usual = FOLDER if self.raw.endswith(b"/") else FILE
        return (usual if self.mode is None else self.mode) << 16 | self.msdos

    def packed(self) -> bytes:
        if self.data is not None:
            return self.data
        return deflate(self.content) if self.method == DEFLATED else self.content

    def said(self, override: Override) -> dict[str, Any]:
        says = {
            "name": self.raw,
            "flags": self.flags,
            "method": self.method,
            "crc": zlib.crc32(self.content),
            "packed": len(self.packed()),
            "size": len(self.content),
            "extra": b"",
            "needed": 20,
            "signature": b"PK\3\4",
        }
        return {**says, **override}

    def but(self, **changes: Any) -> Part:
        return replace(self, **changes)


def deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def extra(kind: int, data: bytes) -> bytes:
    return struct.pack("<HH", kind, len(data)) + data


def wide(*numbers: int) -> bytes:
    """A zip64 extra field."""
    return extra(1, struct.pack(f"<{len(numbers)}Q", *numbers))


def descriptor(part: Part, *, signed: bool = True, layout: str = "<LLL") -> bytes:
    says = part.said({})
    figures = struct.pack(layout, says["crc"], says["packed"], says["size"])
    return (b"PK\7\x08" if signed else b"") + figures


def streamed(part: Part, **kwargs: Any) -> Part:
    """As written to a pipe: the figures stand behind the data."""
    return part.but(
        flags=part.flags | STREAMED,
        local={"crc": 0, "packed": 0, "size": 0, **part.local},
        descriptor=descriptor(part, **kwargs),
    )


def local_header(part: Part) -> bytes:
    s = part.said(part.local)
    sizes = len(s["name"]), len(s["extra"])
    figures = s["crc"], s["packed"], s["size"]
    head = (s["needed"], s["flags"], s["method"], 0, 33)
    fixed = struct.pack("<4s5H3L2H", s["signature"], *head, *figures, *sizes)
    return bytes(fixed + s["name"] + s["extra"])


def central_header(part: Part, offset: int) -> bytes:
    s = {"begin": offset, "disk": 0, "comment": b"", **part.said(part.central)}
    sizes = len(s["name"]), len(s["extra"]), len(s["comment"])
    figures = s["crc"], s["packed"], s["size"]
    head = (3 << 8 | 20, s["needed"], s["flags"], s["method"], 0, 33)
    tail = (s["disk"], 0, part.attributes, s["begin"])
    fixed = struct.pack("<4s6H3L5H2L", b"PK\1\2", *head, *figures, *sizes, *tail)
    return bytes(fixed + s["name"] + s["extra"] + s["comment"])


def end_record(**says: Any) -> bytes:
    s = {"disk": 0, "central": 0, "comment": b"", **says}
    s.setdefault("here", s["count"])
    fixed = struct.pack(
        "<4s4H2LH",
        b"PK\5\6",
        *(s["disk"], s["central"], s["here"], s["count"], s["size"], s["begin"]),
        s.get("comment_size", len(s["comment"])),
    )
    return bytes(fixed + s["comment"])


def end64(**says: Any) -> bytes:
    """A zip64 end record, and its locator, which says that the former is ``at``."""
    s = {"length": 44, "needed": 45, "disk": 0, "disks": 1, **says}
    s.setdefault("signature", b"PK\6\6")
    record = struct.pack(
        "<4sQ2H2L4Q",
        *(s["signature"], s["length"], 45, s["needed"], s["disk"], 0),
        *(s.get("here", s["count"]), s["count"], s["size"], s["begin"]),
    )
    return record + struct.pack("<4sLQL", b"PK\6\7", 0, s["at"], s["disks"])


def archive(
    parts: Sequence[Part],
    *,
    end: Override | None = None,
    large: Override | None = None,
    full: bool = True,
    listed: Callable[[list[bytes]], list[bytes]] = list,
    before_central: bytes = b"",
    after_central: bytes = b"",
) -> bytes:
    """An archive of ``parts``; ``large`` is what its zip64 end record says differently.

    With that the end record says nothing itself, if it is ``full``. ``listed`` changes
    the headers of the central folder.
    """
    body, central = b"", []
    for part in parts:
        body += part.before
        central.append(central_header(part, len(body)))
        body += local_header(part) + part.packed() + (part.descriptor or b"")
    body += before_central
    headers = listed(central)
    folder = b"".join(headers)
    where = {"count": len(headers), "size": len(folder), "begin": len(body)}
    tail = b""
    says: dict[str, Any] = {**where}
    if large is not None:
        at = len(body) + len(folder) + len(after_central)
        tail = end64(**{**where, "at": at, **large})
        says = {"count": 0xFFFF, "size": FULL, "begin": FULL} if full else where
    return body + folder + after_central + tail + end_record(**{**says, **(end or {})})


INFO = "sample-1.0.dist-info"
FILES: Mapping[str, bytes] = {
    "p/__init__.py": b"x = 1\n" * 50,
    "p/data.bin": bytes(range(256)),
}
METADATA = b"Metadata-Version: 2.1\nName: sample\nVersion: 1.0\n"
WHEEL = b"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def wheel_parts(
    files: Mapping[str, bytes] = FILES,
    *,
    metadata: Mapping[str, bytes | None] | None = None,
    edit_record: Callable[[Rows], Rows] = list,
    extra: Iterable[Part] = (),
) -> list[Part]:
    """The members of a wheel; ``extra`` ones are in RECORD too, folders aside."""
    own = {"METADATA": METADATA, "WHEEL": WHEEL, **(metadata or {})}
    described = {f"{INFO}/{k}": v for k, v in own.items() if v is not None}
    parts = [Part(k, v) for k, v in {**files, **described}.items()]
    parts = [part.but(flags=0 if part.raw.isascii() else UTF8) for part in parts]
    parts += extra
    rows: Rows = [
        (part.raw.decode("utf-8", "replace"), *hash_and_size(part.content))
        for part in parts
        if not part.raw.endswith(b"/")
    ]
    if "RECORD" in own:
        return parts
    text = render(edit_record([*dict.fromkeys(rows), (f"{INFO}/RECORD", "", "")]))
    return [*parts, Part(f"{INFO}/RECORD", text.encode())]
