"""Where a file, a project or a repository is: a URL, or a path on this machine."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import url2pathname

_URL = re.compile(r"^[a-z][a-z0-9+.-]+:", re.IGNORECASE)
_CREDENTIALS_UNSAID = re.compile(r"\$\{[A-Z0-9_]+\}(:\$\{[A-Z0-9_]+\})?")


def is_url(place: str) -> bool:
    """Whether ``place`` is a URL and not a path."""
    return _URL.match(place) is not None


def public(url: str) -> str:
    """A URL without credentials, as :pep:`610` says; ``git@`` and variables are none."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at or user == "git" or _CREDENTIALS_UNSAID.fullmatch(user):
        return url
    return urlunsplit(parts._replace(netloc=host))


def of_wheel(url: str | None) -> str | None:
    """The URL of a wheel as far as it may be written down; None if it is of none."""
    if url is None or not url.isascii() or len(url.split()) != 1 or not is_url(url):
        return None
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    # what is behind "?" may be a signature that lets somebody in
    plain = urlunsplit((parts.scheme, host, parts.path, "", ""))
    return plain if parts.path.endswith(".whl") else None


def file_name(place: str) -> str:
    """The last part of a URL or path."""
    if is_url(place):
        return unquote(urlsplit(place).path.rpartition("/")[2])
    return os.path.basename(place)


def local(url: str) -> str:
    """A path for a ``file:`` URL of this machine; other URLs and paths as they are."""
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return url2pathname(parts.path)
    return url
