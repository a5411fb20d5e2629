"""Say what an environment is: run by the environment's interpreter, prints JSON.

A stand-alone file for any Python from 3.9 on, started as ``python -I
environment_query.py PACKAGING [KIND FOLDER]`` where ``PACKAGING`` is the folder of the
``packaging`` library to use (``packaging.tags`` needs the standard library only), and
``FOLDER`` one to install below instead of the interpreter's own, of the ``KIND``
``prefix`` or ``home``. ``sys.path`` stays as it is: nothing else beside that folder can
be imported, and the environment's own ``packaging``, if it has one, is not used.
"""

import importlib.util
import json
import os
import platform
import sys
import sysconfig


def supported_tags(packaging: str) -> "list[str]":
    spec = importlib.util.spec_from_file_location(
        "packaging",
        os.path.join(packaging, "__init__.py"),
        submodule_search_locations=[packaging],
    )
    assert spec is not None
    sys.modules["packaging"] = importlib.util.module_from_spec(spec)
    tags = importlib.import_module("packaging.tags")
    return [str(tag) for tag in tags.sys_tags()]


def markers() -> "dict[str, str]":
    """The variables of environment markers.

    As https://packaging.python.org/en/latest/specifications/dependency-specifiers/
    defines them. ``packaging.markers`` knows them too; importing it takes as long as all
    the rest.
    """
    info = sys.implementation.version
    implementation_version = f"{info.major}.{info.minor}.{info.micro}"
    if info.releaselevel != "final":
        implementation_version += info.releaselevel[0] + str(info.serial)
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": implementation_version,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "platform_python_implementation": platform.python_implementation(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }


def paths_below(kind: str, folder: str) -> "dict[str, str]":
    """Where ``pip install --prefix`` (``prefix``) and ``--target`` (``home``) put things.

    The latter moves the modules afterwards. Every folder of the interpreter's own is
    replaced: that for headers, too.
    """
    known = sysconfig.get_scheme_names()
    names = (f"{os.name}_{kind}", {"prefix": os.name, "home": "posix_home"}[kind])
    bases = ("base", "platbase", "installed_base", "installed_platbase")
    others = ("prefix", "exec_prefix", "userbase")
    return sysconfig.get_paths(
        next(name for name in names if name in known),
        vars=dict.fromkeys((*bases, *others), folder),
    )


def describe(packaging: str, kind: str = "", folder: str = "") -> "dict[str, object]":
    paths = paths_below(kind, folder) if folder else sysconfig.get_paths()
    in_venv = sys.prefix != sys.base_prefix
    marker = os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    version = "python{}.{}".format(*sys.version_info)
    return {
        "commonwheel": 1,
        "python": sys.executable,
        "version": ".".join(map(str, sys.version_info[:3])),
        "cache_tag": sys.implementation.cache_tag,
        "purelib": paths["purelib"],
        "platlib": paths["platlib"],
        "scripts": paths["scripts"],
        "data": paths["data"],
        # A virtual environment shares its base's folder for headers, which an
        # installer must not write to; pip's place for them in one is this.
        "headers": os.path.join(folder or sys.prefix, "include", "site", version)
        if in_venv
        else paths["include"],
        # the file that says so (PEP 668)
        "externally_managed": marker if os.path.exists(marker) and not in_venv else None,
        # an older Python is refused by its version; it may fail to read the library
        "tags": supported_tags(packaging) if sys.version_info >= (3, 9) else [],
        "markers": markers(),
    }


if __name__ == "__main__":
    print("\n" + json.dumps(describe(*sys.argv[1:])))
