"""tox's plugin: with ``use_shared_store = true`` environments are linked to the store.

Under ``[tox]`` (``[tool.tox]``) for all environments, under ``[testenv]`` for some; or
``tox run --use-shared-store``, or ``TOX_USE_SHARED_STORE=1``. Run and package
environments get their pip from virtualenv's seeder ``commonwheel``, and their variables
tell that pip to link; tox itself does what it always does. Without the setting this
plugin changes nothing, and does not even import the rest of commonwheel.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tox.config.set_env import SetEnv
from tox.plugin import impl
from tox.tox_env.python.virtual_env.api import VirtualEnv

if TYPE_CHECKING:
    from argparse import Namespace

    from tox.config.cli.parser import ToxParser
    from tox.config.main import Config
    from tox.config.sets import ConfigSet, EnvConfigSet
    from tox.session.state import State
    from tox.tox_env.api import ToxEnv

_KEY = "use_shared_store"

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
    """Add the setting for one environment, and what it means there."""

    def default(conf: Config, name: str | None) -> bool:
        return bool(conf.core[_KEY])

    env_conf.add_config(
        _KEY, of_type=bool, default=default, desc="link it to the shared store"
    )
    if _is_on(env_conf, state.conf.options):
        variables = {"PIP_USE_SHARED_STORE": "1"}
        # For an old Python tox runs another virtualenv, which does not have our seeder.
        if "virtualenv_spec" in env_conf and not env_conf["virtualenv_spec"]:
            variables["VIRTUALENV_SEEDER"] = "commonwheel"
        env_conf.get("set_env", SetEnv).update(variables, override=False)


@impl
def tox_on_install(
    tox_env: ToxEnv, arguments: object, section: str, of_type: str
) -> None:
    """See to it that an environment older than the setting has what the setting needs."""
    if isinstance(tox_env, VirtualEnv) and _is_on(tox_env.conf, tox_env.options):
        # only where it was asked for
        from commonwheel.environment import of_interpreter
        from commonwheel.errors import CommonwheelError
        from commonwheel.frontends import pip_files, settings
        from commonwheel.store import Store

        if pip_files.are_in(tox_env.env_site_package_dir()):
            return
        given = tox_env.environment_variables.get(settings.STORE)
        try:
            store = Store(settings.store_path(given))
            pip_files.enable(of_interpreter(tox_env.env_dir), store)
        except CommonwheelError as error:
            logger.warning("packages are copied: %s", error)


def _is_on(env_conf: EnvConfigSet, options: Namespace) -> bool:
    chosen = getattr(options, _KEY, None)
    return bool(env_conf[_KEY] if chosen is None else chosen)
