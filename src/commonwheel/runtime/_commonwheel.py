"""The commonwheel runtime: makes linked distributions importable from this folder.

This one file is copied verbatim into the site-packages folder of every
environment that commonwheel links distributions into, and runs at every start
of its interpreter. It is imported by ``00_commonwheel.pth`` (the start-up file
read by :mod:`site`), from Python 3.18 on by ``00_commonwheel.start`` (its successor,
:pep:`829`). It needs nothing but the standard library's frozen import system,
reads no file at start-up and writes none, but for the note below.

What it relies on, all of it beside this file::

    _commonwheel/view/        a tree of symbolic links into a store of unpacked
                              wheels: what would lie in site-packages had the
                              wheels been copied. A folder that one distribution
                              fills is one link; a folder that several share is
                              a real folder of links.
    _commonwheel/links/*.link one link manifest a distribution: ``key: value``
                              lines, among them ``name``, ``version``, ``entry``
                              (the folder in the store) and ``metadata`` (the
                              ``.dist-info`` folder beside this file).

What it does:

* A path hook claims site-packages, the real folders below it that have a twin in
  the view, and the view, but no other folder. So the place of linked distributions
  on ``sys.path`` is the place of site-packages, and a process that has dropped
  site-packages and the view from ``sys.path`` (an isolated build) sees none of them.
* A name is looked up in the real folder, then in the view, by the interpreter's
  own ``FileFinder``; modules get the view's path as ``__file__``. A package that
  both provide is one package with both folders on its ``__path__``, the folder
  with the ``__init__`` first and the real folder before the view.
* A link whose target is gone raises :class:`MissingEntryError`, which names the
  distribution, the store entry and the command that mends it. It never falls
  through to another folder, nor to an empty namespace package. A link that no
  installed distribution owns (its manifest is gone, or no RECORD lists it since
  ``pip install --ignore-installed`` wrote over it) promises nothing.
* Where ``commonwheel enable`` (or virtualenv's seeder) has put a file for pip, that is
  run when pip is imported. A program that is not pip pays nothing for it.
* ``importlib.metadata`` (and its backport) finds the files that a ``RECORD``
  lists in the view, and ``pkgutil.iter_modules`` lists linked modules.
* coverage takes the view for files and folders. It resolves links, and would measure
  what is in the store as if it were not third-party code.
* pytest keeps the bytecode of plugins that it rewrites in ``_commonwheel/pytest``. Beside
  their source nobody can write it (they would be rewritten at every run), but root.
* scikit-build-core, which lets CMake search site-packages, lets it search the view, too.
* cuda.pathfinder, which searches ``site.getsitepackages()`` for CUDA's libraries, is told
  of the view, too.
* What ``shutil`` copies out of the store can be written by its owner, as a copy of a real
  file can (``alembic init``, ``dbt init``).
* A program that ends with an error because it was not allowed to write into an entry says
  after its traceback how to install that distribution as real files.
* An environment that was moved or copied tells its stores where it is now, so that they
  keep what it needs: ``environments/moved-HASH`` of a store that can be written is a file
  with the path of site-packages. That it was moved shows in one comparison: the start-up
  file says where it was written.

The view is also named by a path line of ``00_commonwheel.pth``. That line serves
tools that read ``.pth`` files without running them (type checkers, editors), and
imports when another path hook has replaced this one. A finder at the end of
``sys.meta_path`` then answers what the line cannot.

:func:`install` may be called any number of times, with any folder. A ``.start`` file
cannot give it the folders, so from Python 3.18 on it is for commands to notice a move.
Python 3.9 and later; the names taken from ``_frozen_importlib_external`` exist in
CPython and PyPy since 3.3 and are used because importing ``importlib`` at every
interpreter start costs more than the rest of this file.
"""

import _frozen_importlib_external as _external
import atexit as _atexit
import os as _os
import sys as _sys

TYPE_CHECKING = False  # known to type checkers; `typing` is slow to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_LINKS = _os.sep.join(("", "_commonwheel", "links", ""))
_VIEW = _os.sep.join(("", "_commonwheel", "view"))
_PIP = _os.sep.join(("", "_commonwheel", "_commonwheel_pip.py"))
_PYTEST = _os.sep.join(("", "_commonwheel", "pytest", ""))

_LOADERS = _external._get_supported_file_loaders()  # type: ignore[attr-defined]
_SUFFIXES = [suffix for _, suffixes in _LOADERS for suffix in suffixes]

# Probed by `site` at every start, never linked: not worth listing the view.
_CUSTOMIZE = ("sitecustomize", "usercustomize")

_sites: "list[str]" = []  # the site-packages folders that are served


class MissingEntryError(ImportError):
    """A linked distribution whose entry is not in the store, or not readable."""


def _owner(site: str, target: str) -> "tuple[str, str, str] | None":
    """Name, version, entry of the installed distribution whose entry holds ``target``."""
    try:
        manifests = _os.listdir(site + _LINKS)
    except OSError:
        return None
    for manifest in manifests:
        row = _os.fsencode("_commonwheel/links/" + manifest + ",")
        try:
            with open(site + _LINKS + manifest, "rb") as file:
                lines = [_os.fsdecode(line.rstrip()) for line in file]
            fields = dict(line.split(": ", 1) for line in lines)
            entry = fields["entry"] + _os.sep
            if entry in target or _os.path.realpath(entry) + _os.sep in target:
                path = _os.sep.join((site, fields["metadata"], "RECORD"))
                with open(path, "rb") as file:
                    if any(line.startswith(row) for line in file):
                        return fields["name"], fields["version"], fields["entry"]
        except (OSError, ValueError, KeyError):
            continue  # not a manifest; `commonwheel doctor` reports it
    return None


def _refuse_dangling(site: str, link: str, name: str) -> None:
    """Raise MissingEntryError if ``link`` promises the module ``name`` in vain."""
    try:
        target = _os.readlink(link)
    except OSError:
        return  # not a link
    try:
        _os.stat(link)
        if not _os.path.isdir(link) or _os.listdir(link):
            return
        reason = "it is empty"
    except OSError as error:
        reason = str(error.strerror)
    owner = _owner(site, target)
    if owner is not None:
        command = (
            "{3} -m pip install --use-shared-store --force-reinstall --no-deps {0}=={1}"
        )
        if owner[0] == "pip":
            command = "commonwheel enable {4}"
        elif _os.path.lexists(site + _LINKS + "pip.link"):  # it may be lost as well
            command = "commonwheel repair {4}"
        message = (
            "{0} {1} is linked to the store entry {2}, which cannot be read ({5})."
            " To put it back: " + command
        )
        from shlex import quote  # noqa: PLC0415  not needed when all is well

        python, prefix = quote(_sys.executable or "python"), quote(_sys.prefix)
        raise MissingEntryError(
            message.format(*owner, python, prefix, reason), name=name, path=link
        )


def _explain_refusal() -> None:
    """At the end, say what can be done if an entry that was written to was the reason.

    The interpreter keeps the exception that it ends with; its own report was before this.
    """
    error = getattr(_sys, "last_value", None)
    if _sys.stderr is None or hasattr(_sys, "ps1"):
        return  # nobody to tell, or somebody who went on
    seen: "list[BaseException]" = []
    while error is not None and error not in seen:
        seen.append(error)
        if isinstance(error, OSError) and error.errno in (
            1,
            13,
            30,
        ):  # EPERM EACCES EROFS
            for name in (error.filename, error.filename2):
                if isinstance(name, (str, bytes)):
                    target = _os.path.realpath(_os.fsdecode(name))
                    for owner in filter(None, [_owner(site, target) for site in _sites]):
                        from shlex import quote  # noqa: PLC0415  as above

                        message = (
                            "{0} {1} is linked to the store entry {2}, which cannot be"
                            " written. To install it as real files: {3} -m pip install"
                            " --use-shared-store --shared-store-real {0}"
                            " --force-reinstall --no-deps {0}=={1}"
                        )
                        python = quote(_sys.executable or "python")
                        _sys.stderr.write(message.format(*owner, python) + "\n")
                        return
        error = error.__cause__ or error.__context__


class ViewFinder(_external.FileFinder):
    """The stock finder of a folder of the view, for which a dangling link is an error.

    ``real`` is the folder's twin. Where a LinkFinder serves it on the same path, that
    one gives the view's portions of namespace packages, which would come twice. Packages
    that are in both go on in it.
    """

    _path_cache: "set[str]"  # the names in the folder, which FileFinder keeps

    def __init__(self, path: str, site: str, real: str = "") -> None:
        _external.FileFinder.__init__(self, path, *_LOADERS)
        self._site = site
        self._real = real
        self._goes_on = real not in ("", site) and _os.path.isdir(real)

    def find_spec(
        self, fullname: str, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        if fullname in _CUSTOMIZE:
            return None
        spec = _external.FileFinder.find_spec(self, fullname, target)
        if self._goes_on and spec is not None and spec.loader is not None:
            folders = spec.submodule_search_locations
            twin = self._real + _os.sep + fullname.rpartition(".")[2]
            if folders is not None and _os.path.isdir(twin):
                folders.append(twin)
        if spec is None or spec.loader is None:
            # Nothing, or what looks like a namespace for want of its __init__.
            name = fullname.rpartition(".")[2]
            links = [name] + [name + suffix for suffix in _SUFFIXES]
            links = [link for link in links if link in self._path_cache]
            if spec is not None:
                links += [name + _os.sep + "__init__" + suffix for suffix in _SUFFIXES]
            for link in links:
                _refuse_dangling(self._site, self.path + _os.sep + link, fullname)
            # Only on the same path: one that an nspkg.pth has added to the path of a
            # namespace is gone from it as soon as sys.path changes.
            parent = _sys.modules.get(fullname.rpartition(".")[0])
            if self._real in getattr(parent, "__path__", _sys.path) and isinstance(
                _sys.path_importer_cache.get(self._real), LinkFinder
            ):
                return None
        return spec


class LinkFinder(_external.FileFinder):
    """The stock finder of a real folder, continued in that folder's twin in the view.

    A subclass of ``FileFinder`` because pkg_resources and pkgutil dispatch on it.
    """

    def __init__(self, path: str, site: str) -> None:
        _external.FileFinder.__init__(self, path, *_LOADERS)
        self._linked = ViewFinder(site + _VIEW + path[len(site) :], site)

    def invalidate_caches(self) -> None:
        _external.FileFinder.invalidate_caches(self)
        self._linked.invalidate_caches()

    def find_spec(
        self, fullname: str, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        real = _external.FileFinder.find_spec(self, fullname, target)
        if real is not None and real.submodule_search_locations is None:
            return real  # a module file: nothing to merge
        linked = self._linked.find_spec(fullname, target)
        if real is None or linked is None:
            return real or linked
        first, second = real, linked
        if real.loader is None and linked.loader is not None:
            first, second = linked, real
        folders = first.submodule_search_locations
        more = second.submodule_search_locations
        if folders is not None and more is not None:
            folders.extend(more)
        return first


def _hook(path: str) -> _external.FileFinder:
    for site in _sites:
        if isinstance(path, str) and path.startswith(site):
            below = path[len(site) :]
            if below.startswith(_VIEW):
                if _os.path.isdir(path):
                    return ViewFinder(path, site, site + below[len(_VIEW) :])
            elif not below or _os.path.isdir(site + _VIEW + below):
                return LinkFinder(path, site)
    raise ImportError(path)


class _LastResort:
    """Last on ``sys.meta_path``: our answer where another path hook has our folders."""

    @staticmethod
    def find_spec(
        fullname: str,
        path: "Sequence[str] | None" = None,
        target: "ModuleType | None" = None,
    ) -> "ModuleSpec | None":
        if _sys.path_hooks[:1] != [_hook]:
            for folder in _sys.path if path is None else path:
                try:
                    finder = _hook(folder)
                except ImportError:
                    continue
                spec = finder.find_spec(fullname, target)
                if spec is not None:
                    return spec
        return None


def _extend_pkgutil(pkgutil: "ModuleType") -> None:
    def list_modules(
        finder: LinkFinder, prefix: str = ""
    ) -> "Iterator[tuple[str, bool]]":
        for stock in (_external.FileFinder(finder.path), finder._linked):
            yield from pkgutil.iter_importer_modules(stock, prefix)

    # a `singledispatch` function: a method of the same name on the finder is ignored
    pkgutil.iter_importer_modules.register(LinkFinder, list_modules)


def _extend_metadata(metadata: "ModuleType") -> None:
    locate_real = metadata.PathDistribution.locate_file

    def locate_file(self: object, path: object) -> object:
        found = locate_real(self, path)
        place = str(found)
        for site in _sites:
            if place.startswith(site) and not _os.path.lexists(place):
                linked = site + _VIEW + place[len(site) :]
                if _os.path.lexists(linked):
                    return type(found)(linked)
        return found

    metadata.PathDistribution.locate_file = locate_file


def _extend_coverage(files: "ModuleType") -> None:
    def abs_file(path: str) -> str:
        site, view, below = _os.path.abspath(path).partition(_VIEW + _os.sep)
        found: str = resolve(site) + view + below if view else resolve(path)
        return found

    def walk(folder: str) -> "Iterator[tuple[str, list[str], list[str]]]":
        return _os.walk(folder, followlinks=_VIEW in folder)

    names = vars(files)  # these are not public; its `os` is a copy of its own
    if "abs_file" in names and names["os"] is not _os:
        resolve, names["abs_file"] = names["abs_file"], abs_file
        names["os"].walk = walk


def _extend_pytest(rewrite: "ModuleType") -> None:
    def get_cache_dir(file: object) -> object:
        folder = get_folder(file)
        site, view, _ = str(folder).partition(_VIEW + _os.sep)
        if view:  # by entry: what another version has left is not for this one
            entry = _os.path.dirname(_os.path.realpath(str(file)))
            return type(folder)(site + _PYTEST + entry.partition(_os.sep)[2])
        return folder

    names = vars(rewrite)  # this one is not public
    if "get_cache_dir" in names:
        get_folder, names["get_cache_dir"] = names["get_cache_dir"], get_cache_dir


def _extend_site(site: "ModuleType") -> None:
    get = site.getsitepackages

    def getsitepackages(prefixes: "list[str] | None" = None) -> "list[str]":
        found: "list[str]" = get(prefixes)
        caller = _sys._getframe(1).f_globals.get("__name__", "")
        if caller.startswith("cuda."):  # others take the first or last, to write there
            found += [folder + _VIEW for folder in _sites if folder in found]
        return found

    vars(site)["getsitepackages"] = getsitepackages


def _extend_cmake(_: "ModuleType") -> None:
    known = _os.environ.get("CMAKE_PREFIX_PATH", "")
    views = [site + _VIEW for site in _sites]
    _os.environ["CMAKE_PREFIX_PATH"] = _os.pathsep.join([known] * bool(known) + views)


def _extend_shutil(shutil: "ModuleType") -> None:
    def let_write(copy_bits: "Callable[..., None]") -> "Callable[..., None]":
        def copy(src: str, dst: str, *, follow_symlinks: bool = True) -> None:
            copy_bits(src, dst, follow_symlinks=follow_symlinks)
            mode = _os.lstat(dst).st_mode
            if not mode & 0o222 and _is_stored(_os.fsdecode(src)):
                _os.chmod(dst, mode & 0o7777 | 0o200)

        return copy

    for name in ("copymode", "copystat"):
        setattr(shutil, name, let_write(getattr(shutil, name)))


def _is_stored(path: str) -> bool:
    """Whether a path leads into the view, or into the tree of a store's entry."""
    path = _os.path.abspath(path)
    if _VIEW + _os.sep in path:
        return True
    while _os.path.basename(path):
        path, name = _os.path.split(path)
        if name == "tree" and _os.path.isfile(_os.path.join(path, "entry.json")):
            return True
    return False


_EXTENSIONS: "dict[str, Callable[[ModuleType], None]]" = {
    "pkgutil": _extend_pkgutil,
    "importlib.metadata": _extend_metadata,
    "importlib_metadata": _extend_metadata,
    "coverage.files": _extend_coverage,
    "_pytest.assertion.rewrite": _extend_pytest,
    "scikit_build_core": _extend_cmake,
    "site": _extend_site,
    "shutil": _extend_shutil,
}


class _ExtendOnImport:
    """First on ``sys.meta_path``: extends the modules above right after they run."""

    @staticmethod
    def find_spec(
        fullname: str,
        path: "Sequence[str] | None" = None,
        target: "ModuleType | None" = None,
    ) -> "ModuleSpec | None":
        if fullname == "pip._internal":
            _prepare_pip()
        extend = _EXTENSIONS.get(fullname)
        if extend is None:
            return None
        spec = _external.PathFinder.find_spec(fullname, path, target)
        # A zipimporter is shared by all modules of its archive: left alone.
        if spec is not None and isinstance(spec.loader, _external.FileLoader):
            run = spec.loader.exec_module

            def exec_module(module: "ModuleType") -> None:
                run(module)
                extend(module)

            spec.loader.exec_module = exec_module
        return spec


def _prepare_pip() -> None:
    """Let the file that ``commonwheel enable`` puts here give pip its option."""
    for path in [site + _PIP for site in _sites]:
        if _os.path.isfile(path):
            module = type(_sys)("_commonwheel_pip")
            module.__file__ = path
            try:
                _external.SourceFileLoader(module.__name__, path).exec_module(module)
                module.install()
            except Exception:  # noqa: BLE001  pip works whatever became of the file
                return


def _tell_stores(site: str, home: str) -> None:
    """Note in the stores that ``site`` uses that it is not at ``home`` any more."""
    try:
        if _os.path.exists(home) and _os.path.samefile(home, site):
            return  # another path of the same folder
        import _imp  # noqa: PLC0415  not needed where nothing was moved

        name = "moved-" + _imp.source_hash(0, _os.fsencode(site)).hex()
        stores: "set[str]" = set()
        for manifest in _os.listdir(site + _LINKS):
            with open(site + _LINKS + manifest, "rb") as file:
                found = [line for line in file if line.startswith(b"entry: ")]
            entry = _os.fsdecode(found[0][len("entry: ") :].rstrip(b"\n"))
            store = _os.path.dirname(_os.path.dirname(entry))
            folder = _os.path.join(store, "environments")
            note = _os.path.join(folder, name)
            if _os.path.exists(note):
                return  # told at an earlier start
            if store not in stores and _os.access(folder, _os.W_OK):
                beside = _os.path.join(folder, ".{}.{}".format(name, _os.getpid()))
                with open(beside, "xb") as file:
                    file.write(_os.fsencode(site) + b"\n")
                _os.replace(beside, note)
            stores.add(store)
    except (OSError, ImportError, IndexError):
        return  # a command that touches this environment tells them


def _serve(site: str) -> None:
    if site not in _sites:
        _sites.append(site)
    for folder in list(_sys.path_importer_cache):  # looked at before we came
        if isinstance(folder, str) and folder.startswith(site):
            _sys.path_importer_cache.pop(folder, None)


def install(site: "str | None" = None, home: "str | None" = None) -> None:
    """Serve the site-packages folder ``site``, written as it is on ``sys.path``.

    Without it (a ``.start`` file cannot name it): all whose view is on ``sys.path``.
    ``home`` is where it was when something was linked into it last.
    """
    if site is not None:
        _serve(site)
        if home is not None and home != site:
            _tell_stores(site, home)
    else:
        for path in list(map(str, _sys.path)):
            if path.endswith(_VIEW):
                _serve(path[: -len(_VIEW)])
    if _hook not in _sys.path_hooks:
        _sys.path_hooks.insert(0, _hook)
    if _LastResort not in _sys.meta_path:
        _sys.meta_path.append(_LastResort)
    if _ExtendOnImport not in _sys.meta_path:
        _sys.meta_path.insert(0, _ExtendOnImport)
        _atexit.register(_explain_refusal)
        for name, extend in _EXTENSIONS.items():
            if name in _sys.modules:
                extend(_sys.modules[name])
