"""Notes: what a store has found out once, a line each, in files that only grow.

What is noted can be found out again, so whatever is wrong with such a file (it is cut
off, it cannot be written, a line is damaged) is as if nothing had been noted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from commonwheel import files


class Notes(Mapping[str, str]):
    """A file of lines ``KEY VALUE``; of one key the last line counts."""

    def __init__(
        self,
        path: Path,
        prepare: Callable[[], object] = lambda: None,
        believes: Callable[[os.stat_result], bool] = lambda _: True,
    ) -> None:
        """``prepare`` is called before the file is written: it makes the folder.

        ``believes`` says whether a file that is there is one to read and to add to; if
        not, it is as if there were none, and none could be made.
        """
        self._path = path
        self._prepare = prepare
        self._believes = believes

    def __getitem__(self, key: str) -> str:
        return self._noted[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._noted)

    def __len__(self) -> int:
        return len(self._noted)

    def note(self, key: str, value: str) -> None:
        """Remember ``value``, if that is possible. Neither has blanks or line breaks."""
        if self._noted.get(key) == value:
            return
        try:
            self._prepare()
            # one write to the end of the file, so lines of two processes never mix
            with files.open_to_append(self._path, self._believes) as file:
                file.write(f"{key} {value}\n".encode("ascii"))
        except OSError:
            return
        self._noted[key] = value

    def keep(self, wanted: Callable[[str, str], bool]) -> None:
        """Drop the lines that are not ``wanted`` (key, value), if that is possible.

        To be called while nobody else writes.
        """
        kept = {key: value for key, value in self._noted.items() if wanted(key, value)}
        if len(kept) == len(self._noted):
            return
        text = "".join(f"{key} {value}\n" for key, value in kept.items())
        try:
            mode = stat.S_IMODE(os.lstat(self._path).st_mode)
            files.write_atomically(self._path, text.encode("ascii"), mode)
        except OSError:
            return
        self._noted.clear()
        self._noted.update(kept)

    @cached_property
    def _noted(self) -> dict[str, str]:
        try:
            lines = files.read(self._path, self._believes).decode("ascii").splitlines()
        except (OSError, UnicodeDecodeError):
            return {}
        pairs = (line.split(" ") for line in lines)
        return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
