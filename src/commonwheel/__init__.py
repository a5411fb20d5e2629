"""commonwheel: every wheel unpacked once per machine, environments made of links.

The public interface::

    from commonwheel import Store, WheelRequest, environment_of, install_wheels

    install_wheels([WheelRequest(path)], environment_of(python), Store(folder))

In a program or a notebook, what a lock names becomes importable, without an environment::

    import commonwheel

    commonwheel.activate("pylock.toml")
    commonwheel.activate(["numpy", "rich>=13"])  # the newest that the store has

See :func:`commonwheel.activation.activate` for what it takes and what it promises.
"""

TYPE_CHECKING = False  # known to type checkers; see below for why nothing is imported
if TYPE_CHECKING:
    from commonwheel.activation import activate as activate
    from commonwheel.environment import Environment as Environment
    from commonwheel.environment import of_interpreter as environment_of
    from commonwheel.errors import CommonwheelError as CommonwheelError
    from commonwheel.install import WheelRequest as WheelRequest
    from commonwheel.install import install_wheels as install_wheels
    from commonwheel.install import uninstall as uninstall
    from commonwheel.store import Store as Store

__version__ = "0.1.0"
__all__ = [
    "CommonwheelError",
    "Environment",
    "Store",
    "WheelRequest",
    "activate",
    "environment_of",
    "install_wheels",
    "uninstall",
]

_PLACES = {
    "CommonwheelError": ("errors", "CommonwheelError"),
    "Environment": ("environment", "Environment"),
    "Store": ("store", "Store"),
    "WheelRequest": ("install", "WheelRequest"),
    "activate": ("activation", "activate"),
    "environment_of": ("environment", "of_interpreter"),
    "install_wheels": ("install", "install_wheels"),
    "uninstall": ("install", "uninstall"),
}


def __getattr__(name: str) -> object:
    # Names are resolved when used (:pep:`562`), and `importlib` is imported then: this
    # package is imported at the start of every interpreter that has it (see
    # frontends/pip_start.py).
    from importlib import import_module

    if name not in _PLACES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    module, attribute = _PLACES[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)
