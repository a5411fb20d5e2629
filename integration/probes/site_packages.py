"""What can be imported and found of distributions."""

import importlib
import importlib.metadata
import importlib.resources
import json
import pkgutil
import sys

MODULES = ("labour.work", "labour_module", "labour_space.one", "labour_space.two")


def imported(name):
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        return type(error).__name__
    return [module.__file__, getattr(module, "VERSION", None)]


def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def main():
    found = {name: imported(name) for name in (*MODULES, *sys.argv[1:])}
    for name in ("labour", "labour-two"):
        found[f"version of {name}"] = version(name)
    if "labour_space" in sys.modules:
        namespace = sys.modules["labour_space"]
        found["path"] = list(namespace.__path__)
        found["portions"] = sorted(
            {x.name for x in pkgutil.iter_modules(namespace.__path__)}
        )
    if "labour" in sys.modules:
        found["data"] = pkgutil.get_data("labour", "data.txt").decode()
        found["resource"] = (importlib.resources.files("labour") / "data.txt").read_text()
        files = importlib.metadata.files("labour") or []
        own = [each for each in files if each.parts[0].startswith("labour")]
        own = [each for each in own if not each.parts[0].endswith(".dist-info")]
        sources = [each.locate() for each in own if each.suffix != ".pyc"]
        found["files"] = sorted(map(str, sources))
        found["all there"] = all(each.exists() for each in sources)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
