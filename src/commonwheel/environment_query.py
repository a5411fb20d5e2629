"""Say what an environment is: run by the environment's interpreter, prints JSON.

A stand-alone file for any Python from 3.9 on, started as ``python -I
environment_query.py PACKAGING`` where ``PACKAGING`` is a folder from which the
``packaging`` library can be imported; it is taken off ``sys.path`` again, and nothing
else of that folder is imported (``packaging.tags`` needs the standard library only).
"""

import json
import os
import sys
import sysconfig

paths = sysconfig.get_paths()
sys.path.insert(0, sys.argv[1])
from packaging import tags

in_venv = sys.prefix != sys.base_prefix
version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
json.dump(
    {
        "python": sys.executable,
        "version": ".".join(map(str, sys.version_info[:3])),
        "implementation": sys.implementation.name,
        "cache_tag": sys.implementation.cache_tag,
        "prefix": sys.prefix,
        "purelib": paths["purelib"],
        "platlib": paths["platlib"],
        "scripts": paths["scripts"],
        "data": paths["data"],
        # A virtual environment shares its base's folder for headers, which an
        # installer must not write to; pip's place for them in one is this.
        "headers": os.path.join(sys.prefix, "include", "site", version)
        if in_venv
        else paths["include"],
        "externally_managed": not in_venv
        and os.path.exists(
            os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
        ),
        "tags": [str(tag) for tag in tags.sys_tags()],
    },
    sys.stdout,
)
