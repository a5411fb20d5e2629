"""Packages that do not work as links, and why: they are installed as real files.

Seen by running the version named with each; what can be found out from a wheel itself
(libraries that links do not help) needs no line here. Users add names of their
own (``--shared-store-real``, ``COMMONWHEEL_REAL``).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

REASONS: Mapping[str, str] = MappingProxyType({})
"""By normalized name."""
