"""Packages that do not work as links, and why: they are installed as real files.

Seen by running the version named with each; what can be found out from a wheel itself
(libraries that links do not help) needs no line here. Users add names of their
own (``--shared-store-real``, ``COMMONWHEEL_REAL``).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "chromedriver-autoinstaller": "it downloads drivers into its own folder"
        " (chromedriver-autoinstaller 0.6.4)",
        "geckodriver-autoinstaller": "it downloads drivers into its own folder"
        " (geckodriver-autoinstaller 0.1.0)",
        "openwakeword": "it downloads models into its own folder (openwakeword 0.6.0)",
        "prefect": "its server copies its web pages within its own folder"
        " (prefect 3.8.8)",
        "pycox": "it makes a folder in its own when it is imported (pycox 0.3.0)",
        "pymongo-inmemory": "it downloads MongoDB into the folder beside its own"
        " (pymongo-inmemory 0.5.0)",
        "pytailwindcss": "it downloads Tailwind CSS into its own folder"
        " (pytailwindcss 0.4.2)",
        "robotframework-browser": "it installs npm packages into its own folder"
        " (robotframework-browser 20.6.0)",
        "seleniumbase": "it downloads drivers into its own folder (seleniumbase 4.56.4)",
        "static-ffmpeg": "it downloads ffmpeg into its own folder (static-ffmpeg 3.0)",
        "textacy": "it downloads data into its own folder (textacy 0.13.0)",
        "unidic": "it downloads dictionaries into its own folder (unidic 1.1.0)",
        "vale": "it writes what it downloads over a file of its own (vale 3.25.1.0)",
    }
)
"""By normalized name."""
