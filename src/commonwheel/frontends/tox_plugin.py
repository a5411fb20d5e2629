"""tox's plugin: with ``use_shared_store = true`` environments are linked to the store.

Under ``[tox]`` (``[tool.tox]``) for all environments, under ``[testenv]`` for some; or
``tox run --use-shared-store``, or ``TOX_USE_SHARED_STORE=1``. Run and package
environments get their pip from virtualenv's seeder ``commonwheel``, and their variables
tell that pip to link; tox itself does what it always does. Without the setting this
plugin changes nothing, and does not even import the rest of commonwheel.

Nothing is asked of an environment before tox itself does: most of those in a
configuration are not run, and what is wrong with them is nobody's business.
"""

from __future__ import annotations

import functools
import logging
import os
from typing import TYPE_CHECKING

from tox.plugin import impl
from tox.tox_env.python.package import EditablePackage
from tox.tox_env.python.virtual_env import runner
from tox.tox_env.python.virtual_env.api import VirtualEnv
from tox.tox_env.python.virtual_env.package import cmd_builder, pyproject

if TYPE_CHECKING:
    from tox.config.cli.parser import ToxParser
    from tox.config.main import Config
    from tox.config.sets import ConfigSet, EnvConfigSet
    from tox.session.state import State
    from tox.tox_env.api import ToxEnv
    from tox.tox_env.register import ToxEnvRegister

_KEY = "use_shared_store"
_SPEC = "virtualenv_spec"  # an old tox does not have it

logger = logging.getLogger(__name__)


@impl
def tox_add_option(parser: ToxParser) -> None:
    """Add ``--use-shared-store``, which tox also reads from ``TOX_USE_SHARED_STORE``."""
    for option, value, what in (
        ("--use-shared-store", True, "link environments to commonwheel's shared store"),
        ("--no-use-shared-store", False, "copy packages, whatever the settings say"),
    ):
        parser.add_argument(
            option, dest=_KEY, action="store_const", const=value, default=None, help=what
        )


@impl
def tox_add_core_config(core_conf: ConfigSet, state: State) -> None:
    """Add the setting for all environments."""
    core_conf.add_config(
        _KEY, of_type=bool, default=False, desc="link environments to the shared store"
    )


@impl
def tox_add_env_config(env_conf: EnvConfigSet, state: State) -> None:
    """Add the setting for one environment."""

    def default(conf: Config, name: str | None) -> bool:
        return bool(conf.core[_KEY])

    env_conf.add_config(
        _KEY, of_type=bool, default=default, desc="link it to the shared store"
    )


@impl
def tox_register_tox_env(register: ToxEnvRegister) -> None:
    """Put kinds of environments that choose the seeder in the place of tox's own."""
    register.add_run_env(VirtualEnvRunner)
    register.add_package_env(Pep517VirtualEnvPackager)
    register.add_package_env(VirtualEnvCmdBuilder)


@impl
def tox_on_install(
    tox_env: ToxEnv, arguments: object, section: str, of_type: str
) -> None:
    """Tell pip to link, once it can: an environment may be older than the setting."""
    if not _is_on(tox_env):
        return
    if not isinstance(tox_env, VirtualEnv):
        _warn_once(tox_env.name, "not pip installs here, so nothing is linked")
        return
    # only where it was asked for
    from commonwheel.environment import of_interpreter
    from commonwheel.errors import CommonwheelError
    from commonwheel.frontends import pip_files, settings

    given = tox_env.environment_variables
    try:
        store = pip_files.store_of(given)
        if not pip_files.are_in(tox_env.env_site_package_dir()):
            pip_files.enable(of_interpreter(tox_env.env_dir), store)
    except CommonwheelError as error:
        _warn_once(tox_env.name, f"packages are copied: {error}")
        return
    # tox does not pass on what decides where the store is, and how it is used.
    told = {"PIP_USE_SHARED_STORE": "1", settings.STORE: settings.name_of(store)}
    told |= settings.inherited()
    told = {name: value for name, value in told.items() if name not in given}
    tox_env.conf["set_env"].update(told | _editable(arguments))


def _editable(arguments: object) -> dict[str, str]:
    """Names the wheels that pip must copy: to pip they are wheels like any other."""
    packages = arguments if isinstance(arguments, list) else []
    made = [str(each.path) for each in packages if isinstance(each, EditablePackage)]
    return {"_COMMONWHEEL_EDITABLE": os.pathsep.join(made)} if made else {}


class _Seeding(VirtualEnv):
    """An environment whose pip is virtualenv's seeder's, if that is wanted.

    The seeder is chosen where virtualenv is run and not in the environment's variables:
    commands may run another virtualenv, which does not have it.
    """

    def virtualenv_env_vars(self) -> dict[str, str]:
        """The variables that virtualenv is run with."""
        variables = super().virtualenv_env_vars()
        # For an old Python, tox runs another virtualenv.
        another = self.conf[_SPEC] if _SPEC in self.conf else ""  # noqa: SIM401  no dict
        if _is_on(self) and not another:
            variables.setdefault("VIRTUALENV_SEEDER", "commonwheel")
        return variables


# With the names of tox's own: it records them, and makes an environment anew if another
# class has made it.
class VirtualEnvRunner(_Seeding, runner.VirtualEnvRunner):
    """A run environment."""


class Pep517VirtualEnvPackager(_Seeding, pyproject.Pep517VirtualEnvPackager):
    """A package environment."""


class VirtualEnvCmdBuilder(_Seeding, cmd_builder.VirtualEnvCmdBuilder):
    """A package environment with commands of its own."""


def _is_on(tox_env: ToxEnv) -> bool:
    chosen = getattr(tox_env.options, _KEY, None)
    return bool(tox_env.conf[_KEY] if chosen is None else chosen)


@functools.cache
def _warn_once(environment: str, reason: str) -> None:
    """Warn, though several installations into an environment have the same to say.

    tox itself says which environment it is about.
    """
    logger.warning("use_shared_store: %s", reason)
