"""virtualenv's seeder ``commonwheel``: new environments have their pip from the store.

``virtualenv --seeder commonwheel``, or ``VIRTUALENV_SEEDER=commonwheel`` for whoever
runs virtualenv: tox, nox, pre-commit, hatch. Which pip (and setuptools) is virtualenv's
choice, with all of its options. The environment's pip knows ``--use-shared-store``.

virtualenv imports this module whenever it runs, chosen or not, so it imports what it
needs of commonwheel only when it is chosen.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from virtualenv.seed.embed.via_app_data.via_app_data import FromAppData

if TYPE_CHECKING:
    from virtualenv.create.creator import Creator

    from commonwheel.environment import Environment

logger = logging.getLogger(__name__)


class SharedStoreSeeder(FromAppData):
    """Links the seed packages. What it cannot link into is left to virtualenv's own."""

    def run(self, creator: Creator) -> None:
        """Seed the environment that ``creator`` has made.

        :raises RuntimeError: virtualenv's error, when a wheel cannot be found
        """
        if not self.enabled:
            return
        # Not before it is known that this seeder was chosen.
        from commonwheel.errors import CommonwheelError
        from commonwheel.frontends import pip_files, settings
        from commonwheel.install import WheelRequest, install_wheels

        with self._get_seed_wheels(creator) as found:
            wheels = [WheelRequest(each.path, lasting=True) for each in found.values()]
            try:
                environment = _environment(creator)
                # virtualenv may have been given other variables than this process
                store = pip_files.store_of(self.env)
                given = pip_files.additions()
                links = settings.link_choice(variables=self.env)
                install_wheels(wheels, environment, store, links=links, additions=given)
            except CommonwheelError as error:
                logger.warning("the seed packages are copied: %s", error)
                super().run(creator)


def _environment(creator: Creator) -> Environment:
    """The environment that ``creator`` has made, asked of it as far as it knows."""
    from commonwheel.environment import OLDEST, Environment, Scheme, of_interpreter

    python = creator.interpreter
    major, minor = python.version_info.major, python.version_info.minor
    threaded = getattr(python, "free_threaded", False)  # not in an old virtualenv
    plain = python.implementation == "CPython" and not threaded
    if not plain or (major, minor) < OLDEST:
        return of_interpreter(creator.exe)
    return Environment(
        python=creator.exe,
        version=".".join(map(str, python.version_info[:3])),
        cache_tag=f"cpython-{major}{minor}",
        scheme=Scheme(
            purelib=creator.purelib,
            platlib=creator.platlib,
            scripts=creator.script_dir,
            headers=creator.dest / "include" / "site" / f"python{major}.{minor}",
            data=creator.dest,
        ),
    )
