"""Registration: what environments hold is known to their stores, wherever they are."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from commonwheel.environment import Environment, Scheme
from commonwheel.errors import EntryGone
from commonwheel.install import WheelRequest, install_wheels, link_entries, of_entry
from commonwheel.link_mode import LinkChoice, LinkMode
from commonwheel.registration import register
from commonwheel.sight import State
from commonwheel.store import Store
from conftest import make_environment
from disk import watched
from wheel_file import write_wheel


def roots(store: Store) -> dict[Path, dict[str, LinkMode]]:
    """What the registry says that each environment holds, by its site-packages."""
    registry = store.registry
    return {root.sites[0]: dict(registry.noted(root)) for root in registry.roots()}


def moved(environment: Environment, folder: Path) -> Environment:
    """The same environment in another place."""
    before = environment.scheme
    folders = {
        name: folder / getattr(before, name).relative_to(before.data)
        for name in ("purelib", "platlib", "scripts", "headers", "data")
    }
    return replace(environment, scheme=Scheme(**folders))


@pytest.mark.parametrize("mode", [LinkMode.MANIFEST, LinkMode.HARDLINK, LinkMode.COPY])
def test_every_link_mode_counts(
    tmp_path: Path, environment: Environment, site: Path, store: Store, mode: LinkMode
) -> None:
    wheel = write_wheel(tmp_path, {"sample.py": ""})
    links = LinkChoice(mode)
    install_wheels([WheelRequest(wheel)], environment, store, links=links)
    (identifier,) = store.identifiers()
    assert roots(store) == {site: {identifier: mode}}
    (root,) = store.registry.roots()
    sight = store.registry.look(root)
    assert (sight.state, sight.entries) == (State.PRESENT, {identifier: mode})


def test_an_environment_is_registered_before_anything_is_linked(
    tmp_path: Path,
    environment: Environment,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        assert roots(store)
        raise OSError(28, "full")

    monkeypatch.setattr("commonwheel.install.apply", fail)
    wheel = write_wheel(tmp_path, {"sample.py": ""})
    with pytest.raises(Exception, match="full"):
        install_wheels([WheelRequest(wheel)], environment, store)


def test_that_it_is_registered_is_on_the_disk_before(
    tmp_path: Path, environment: Environment, store: Store
) -> None:
    wheel = write_wheel(tmp_path / "wheels", {"sample.py": ""})
    linked, lost = [], []

    def look(path: Path) -> None:
        if path.is_relative_to(environment.scheme.data):
            linked.append(path)
            lost.extend(disk.lost(store.root / "environments"))

    with watched(tmp_path, look) as disk:
        install_wheels([WheelRequest(wheel)], environment, store)
    assert linked
    assert lost == disk.lost(store.root / "environments") == []


def test_a_plain_folder_needs_no_entry_and_is_not_registered(
    tmp_path: Path, environment: Environment, store: Store
) -> None:
    wheel = write_wheel(tmp_path, {"sample.py": ""})
    plain = replace(environment, plain=True)
    links = LinkChoice(LinkMode.AUTO)
    install_wheels([WheelRequest(wheel)], plain, store, links=links)
    assert roots(store) == {}


def test_a_moved_and_a_copied_environment_register_themselves(
    tmp_path: Path, environment: Environment, site: Path, store: Store
) -> None:
    wheel = write_wheel(tmp_path, {"sample.py": ""})
    install_wheels([WheelRequest(wheel)], environment, store)
    register(environment)
    assert set(roots(store)) == {site}
    copy = moved(environment, tmp_path / "copy")
    shutil.copytree(environment.scheme.data, copy.scheme.data, symlinks=True)
    register(copy)
    register(copy)
    (identifier,) = store.identifiers()
    held = {identifier: LinkMode.MANIFEST}
    assert roots(store) == {site: held, copy.scheme.purelib: held}


def test_a_store_that_is_gone_is_not_told(
    tmp_path: Path, environment: Environment, store: Store
) -> None:
    wheel = write_wheel(tmp_path, {"sample.py": ""})
    install_wheels([WheelRequest(wheel)], environment, store)
    store.root.rename(tmp_path / "elsewhere")
    register(environment)
    assert not store.root.exists()


def test_an_entry_that_was_collected_meanwhile_is_not_linked(
    tmp_path: Path, environment: Environment, store: Store, site: Path
) -> None:
    wheel = write_wheel(tmp_path, {"sample.py": ""})
    other = make_environment(tmp_path / "other")
    install_wheels([WheelRequest(wheel)], other, store)
    (identifier,) = store.identifiers()
    entry = store.get(identifier)
    assert entry is not None
    with store.alone(0):
        store.disposal.take_out(identifier)
    with pytest.raises(EntryGone, match="run the command again"):
        link_entries([of_entry(entry, LinkChoice())], environment, store)
    assert list(site.iterdir()) == []


def test_what_is_linked_again_is_not_unused_any_more(
    tmp_path: Path, environment: Environment, store: Store
) -> None:
    wheel = write_wheel(tmp_path, {"sample.py": ""})
    install_wheels([WheelRequest(wheel)], environment, store)
    (identifier,) = store.identifiers()
    store.disposal.note(identifier)
    install_wheels([WheelRequest(wheel)], environment, store)
    assert store.disposal.unused() == {}


class TestChain:
    """A store on top of one that nobody here may write."""

    @pytest.fixture
    def layer(self, tmp_path: Path, environment: Environment) -> Store:
        layer = Store(tmp_path / "layer")
        wheel = write_wheel(tmp_path / "wheels", {"base.py": ""}, "base")
        other = make_environment(tmp_path / "builder")
        install_wheels([WheelRequest(wheel)], other, layer)
        return layer

    def test_what_a_layer_has_is_used_and_the_rest_added_on_top(
        self, tmp_path: Path, environment: Environment, layer: Store
    ) -> None:
        chain = Store(tmp_path / "own", layer.root)
        wheels = [tmp_path / "wheels/base-1.0-py3-none-any.whl"]
        wheels.append(write_wheel(tmp_path / "wheels", {"top.py": ""}, "top"))
        install_wheels([WheelRequest(each) for each in wheels], environment, chain)
        assert [each.split("-")[0] for each in chain.identifiers()] == ["top"]
        assert [each.split("-")[0] for each in layer.identifiers()] == ["base"]
        found = [chain.contents().of_name(name) for name in ("base", "top")]
        assert [next(each).root.parent.parent for each in found] == [
            layer.root,
            chain.root,
        ]
        # each store knows who holds entries of its own
        site = environment.scheme.purelib
        for store in (chain, layer):
            assert list(roots(store)[site]) == store.identifiers()

    def test_the_first_that_can_be_written_is_the_one_that_grows(
        self, tmp_path: Path, layer: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "commonwheel.store.can_be_written", lambda root, _: root != layer.root
        )
        chain = Store(layer.root, tmp_path / "own", tmp_path / "last")
        assert chain.root == tmp_path / "own"
        assert [each.root for each in chain.below] == [layer.root, tmp_path / "last"]


def test_the_record_of_an_environment_names_it(
    tmp_path: Path, environment: Environment, store: Store
) -> None:
    install_wheels(
        [WheelRequest(write_wheel(tmp_path, {"sample.py": ""}))], environment, store
    )
    (record,) = (store.root / "environments").glob("*.json")
    found = json.loads(record.read_text())
    assert found["environment"] == str(environment.scheme.data)
