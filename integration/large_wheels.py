"""Wheels whose libraries look for each other, as in test_binaries.py, but large ones.

Not for every day: ``tox -e binaries`` downloads 0.7 GB. PyQt6 needs what a desktop has
(libEGL.so.1, libxkbcommon.so.0).
"""

from __future__ import annotations

import pytest
from packaging.utils import canonicalize_name

import interpreters
from pairs import Compare, Pairs
from test_binaries import Use

PYTHON = "3.11"
"""Which a CPU build of torch can be had for."""

NVIDIA = ("nvidia-cusparse-cu12", "nvidia-nvjitlink-cu12")
USES = (
    Use(
        ("torch==2.13.0+cpu",),
        """
import torch, torch.distributed
from torch.utils import cpp_extension
print(torch.linalg.det(torch.eye(3) * 2).item(), torch.distributed.is_gloo_available())
torch.multiprocessing.set_sharing_strategy("file_system")  # runs torch_shm_manager
print(torch.ones(5).share_memory_().sum().item(), torch.nn.Linear(2, 2))
print(cpp_extension.include_paths(), cpp_extension.library_paths())
""",
        "8.0 True",
    ),
    Use(
        NVIDIA,
        """
import ctypes, nvidia.cusparse
library = ctypes.CDLL(list(nvidia.cusparse.__path__)[0] + "/lib/libcusparse.so.12")
version = ctypes.c_int()
print(library.cusparseGetProperty(0, ctypes.byref(version)), version.value)
""",
        "0 12",
    ),
    Use(
        ("cuda-pathfinder", *NVIDIA),
        """
from cuda.pathfinder import load_nvidia_dynamic_lib
print(load_nvidia_dynamic_lib("cusparse").abs_path)
""",
        "nvidia/cusparse/lib/libcusparse.so.12",
    ),
    Use(
        ("PyQt6-Charts",),
        """
import PyQt6.QtCharts
from PyQt6.QtCore import QLibraryInfo, QPluginLoader
path = QLibraryInfo.path(QLibraryInfo.LibraryPath.QmlImportsPath)
loader = QPluginLoader(path + "/QtCharts/libqtchartsqml2plugin.so")
print(path, loader.load(), loader.errorString())
""",
        "PyQt6/Qt6/qml True",
    ),
)


@pytest.mark.parametrize("use", USES, ids=lambda use: use.requirements[0])
def test_what_people_use(pairs: Pairs, compare: Compare, use: Use) -> None:
    pair = pairs.of(*use.requirements, python=interpreters.require(PYTHON))
    name = canonicalize_name(use.requirements[0].partition("==")[0])
    said = compare(name, pair, lambda environment: environment.code(use.code))
    assert use.says in said
