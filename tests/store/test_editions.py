"""Stores under a store: what one edition has, no other has, and a consumer finds its own with or without the rest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from distributor.errors import ConfigError, StoreError
from distributor.settings import Settings
from distributor.store.aside import aside
from distributor.store.directory import DirectoryStore
from distributor.store.editions import begun, opened, store_of


def settings(path: Path, masking: str | None = "test", secret: str = "s" * 16) -> Settings:
    member = {"adapter": "sqlite", "url": "sqlite:///x.db"}
    columns = {"products": {"name": "token"}}
    return Settings.model_validate(
        {
            "master": {"url": "postgresql://h/m", "datasets": {"products": {"table": "products"}}},
            "ledger": {"url": "postgresql://h/l"},
            "broker": {"url": "amqp://h"},
            "store": {"path": str(path)},
            "masking": {name: {"secret": secret, "columns": columns} for name in ("test", "other")},
            "environments": {"uat": {"masking": masking, "systems": {"pos": member}}},
        }
    )


def test_an_edition_is_a_store_of_its_own(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    one, other = store.edition("a" * 64), store.edition("b" * 64)
    clear, masked = store.put(b"clear"), one.put(b"masked")
    one.link("base", "x", masked)
    assert (store.holds(clear), one.holds(masked)) == (True, True)
    assert [found.holds(sha256) for found, sha256 in ((store, masked), (one, clear), (other, masked))] == [False] * 3
    assert [kept.sha256 for kept in store.objects()] == [clear]
    assert (store.linked("base", "x"), one.linked("base", "x")) == (None, masked)
    assert list(store.editions()) == ["a" * 64]
    assert not store.discard("a" * 64)
    for strange in ("", "..", "a" * 63, "A" * 64):
        with pytest.raises(StoreError):
            store.edition(strange)


def test_what_is_put_aside_is_put_into_no_edition(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    there = store.edition("a" * 64).put(b"there")
    before = sorted(tmp_path.rglob("*"))
    with aside(store) as beside:
        edition = beside.edition("a" * 64)
        new = edition.put(b"new")
        assert (edition.get(there), edition.get(new)) == (b"there", b"new")
        assert edition.holds(new)
        assert not beside.holds(new)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_consumer_finds_its_edition_in_the_store_and_alone(tmp_path: Path) -> None:
    whole = settings(tmp_path / "store")
    [policy] = whole.policies_in_use
    store = DirectoryStore(tmp_path / "store")
    edition = begun(store, policy)
    masked = edition.put(b"masked")
    assert store_of(whole, store, "uat").get(masked) == b"masked"
    found, version = opened(whole, "uat")
    assert (found.get(masked), version) == (b"masked", policy.version)
    shutil.copytree(store.edition_path(policy.version), tmp_path / "alone")
    found, version = opened(settings(tmp_path / "alone", secret="not known on this host"), "uat")
    assert (found.get(masked), version) == (b"masked", policy.version)


@pytest.mark.parametrize(("masking", "why"), [(None, "in clear"), ("other", "under the policy other")])
def test_a_consumer_does_not_take_the_edition_of_another_policy(tmp_path: Path, masking: str | None, why: str) -> None:
    store = DirectoryStore(tmp_path / "store")
    [policy] = settings(store.path).policies_in_use
    begun(store, policy)
    with pytest.raises(ConfigError, match=why):
        opened(settings(store.edition_path(policy.version), masking), "uat")
    found, version = opened(settings(store.path, masking), "uat")
    assert (version == "") == (masking is None)
    assert found.path != store.edition_path(policy.version)


def test_a_secret_is_told_by_nothing(tmp_path: Path) -> None:
    known = settings(tmp_path, secret="of all the secrets this")
    [policy] = known.policies_in_use
    assert "of all" not in f"{policy!r} {known!r} {policy.version}"
    assert settings(tmp_path, secret="of all the secrets that").policies_in_use[0].version != policy.version
