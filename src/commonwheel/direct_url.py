"""``direct_url.json``: what a distribution was installed from, if not from an index.

See https://packaging.python.org/en/latest/specifications/direct-url/ (:pep:`610`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from commonwheel import location
from commonwheel.pin import Kind, Pin


def agrees(pin: Pin, found: Mapping[str, Any] | None) -> bool:
    """Whether ``direct_url.json`` says what it would say had ``pin`` been installed."""
    if not pin.direct or found is None:
        return found is None and not pin.direct
    wanted = describe(pin, pin.hashes)
    if any(found.get(key) != wanted.get(key) for key in ("url", "subdirectory")):
        return False
    if pin.kind is Kind.VCS:
        return bool(found.get("vcs_info", {}).get("commit_id") == pin.commit)
    hashes = found.get("archive_info", {}).get("hashes") or {}
    return not pin.hashes or not pin.hashes.isdisjoint(hashes.items())


def describe(pin: Pin, hashes: Collection[tuple[str, str]]) -> dict[str, Any]:
    """What ``direct_url.json`` is to say of ``pin`` (:pep:`610`)."""
    assert pin.location is not None
    url = pin.path.as_uri() if pin.path is not None else location.public(pin.location)
    found: dict[str, Any] = {"url": url}
    if pin.kind is Kind.VCS:
        found["vcs_info"] = {"vcs": pin.vcs, "commit_id": pin.commit}
        if pin.requested_revision is not None:
            found["vcs_info"]["requested_revision"] = pin.requested_revision
    else:
        found["archive_info"] = _archive_info(dict(sorted(hashes)))
    if pin.subdirectory is not None:
        found["subdirectory"] = pin.subdirectory
    return found


def _archive_info(hashes: dict[str, str]) -> dict[str, Any]:
    if not hashes:
        return {}
    algorithm, digest = next(iter(hashes.items()))
    # the first is for readers that know of one hash only
    return {"hash": f"{algorithm}={digest}", "hashes": hashes}
