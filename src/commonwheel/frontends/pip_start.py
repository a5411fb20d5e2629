"""Waits for ``pip install``: imported at the start of every interpreter that has
commonwheel beside it, by ``commonwheel_pip.pth`` (and ``.start``, :pep:`829`).

Nothing of pip or of the rest of commonwheel is imported before pip itself imports its
``install`` command, so a program that is not pip pays for one small module.
"""

import sys

_COMMAND = "pip._internal.commands.install"


class _Loader:
    """The loader of pip's command, followed by ours. (Not patched into the loader: in
    ``pip.pyz`` one ``zipimporter`` loads every module of the folder.)
    """

    def __init__(self, spec):  # type: ignore[no-untyped-def]
        self._spec = spec
        self._loader = spec.loader

    def __getattr__(self, name):  # type: ignore[no-untyped-def]
        return getattr(self._loader, name)

    def create_module(self, spec):  # type: ignore[no-untyped-def]
        return self._loader.create_module(spec)

    def exec_module(self, module):  # type: ignore[no-untyped-def]
        module.__loader__ = self._spec.loader = self._loader
        self._loader.exec_module(module)
        try:
            # imported here because only this command needs it
            from commonwheel.frontends import pip_hook

            pip_hook.register(module)
        except Exception:  # noqa: BLE001  pip works whatever became of this package
            return


class _Finder:
    @staticmethod
    def find_spec(fullname, path=None, target=None):  # type: ignore[no-untyped-def]
        if fullname != _COMMAND:
            return None
        for finder in sys.meta_path:
            find_spec = getattr(finder, "find_spec", None)  # finders of old lack it
            if find_spec is None or finder is _Finder:
                continue
            spec = find_spec(fullname, path, target)
            if spec is not None:
                spec.loader = _Loader(spec)  # type: ignore[no-untyped-call]
                return spec
        return None


def install() -> None:
    """Start waiting; calling it again changes nothing."""
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)
