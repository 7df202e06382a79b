"""Where the contents of an environment lie: the store, or under it the edition of the environment's masking policy."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from distributor.errors import ConfigError, StoreError
from distributor.masking.policy import Policy
from distributor.model.dataset import Frozen
from distributor.settings.models import Settings
from distributor.store.base import Store
from distributor.store.directory import EDITIONS, DirectoryStore

KIND, NAME = "edition", "policy"
"""Kind and name under which an edition says of which policy it is."""


class Mark(Frozen):
    """What an edition says of itself: its policy's name and version."""

    policy: str
    version: str


def store_of(settings: Settings, store: Store, environment: str) -> Store:
    """The store that the members of an environment read, where `store` is that of the config."""
    policy = settings.masking_of(environment)
    return store.edition(policy.version) if policy else store


def begun(store: Store, policy: Policy) -> Store:
    """The edition of a policy, marked as such. Raises StoreError."""
    edition = store.edition(policy.version)
    if edition.linked(KIND, NAME) is None:
        mark = Mark(policy=policy.name, version=policy.version)
        edition.link(KIND, NAME, edition.put(mark.model_dump_json().encode()))
    return edition


def opened(settings: Settings, environment: str) -> tuple[DirectoryStore, str]:
    """The store as a consumer of an environment finds it, and the version of the policy under which its rows are masked
    ("" in clear). `store.path` is the store's, or the path of a directory that has the edition alone.

    In the latter case the edition itself says its version, so no secret is needed. Raises ConfigError when it is of
    another policy.
    """
    path = settings.resolve(settings.store.path)
    policy = settings.masking_of(environment)
    here = DirectoryStore(path)
    mark = _mark(here)
    if policy is None:
        if mark is not None:
            raise _wrong(path, environment, mark, "in clear")
        return here, ""
    if mark is None:
        return here.edition(policy.version), policy.version
    if mark.policy != policy.name:
        raise _wrong(path, environment, mark, f"under the policy {policy.name}")
    return here, mark.version


def _mark(store: DirectoryStore) -> Mark | None:
    sha256 = store.linked(KIND, NAME)
    if sha256 is None:
        return None
    try:
        return Mark.model_validate_json(store.get(sha256))
    except ValidationError as error:
        raise StoreError("this edition does not say of which policy it is", where=str(store.path)) from error


def _wrong(path: Path, environment: str, mark: Mark, wanted: str) -> ConfigError:
    return ConfigError(
        f"{environment} sees the rows {wanted}, and this is an edition under the policy {mark.policy}",
        where=f"store.path = {path}",
        mend=f"Give it the store's own path, or the directory of its policy under {EDITIONS}/.",
    )
