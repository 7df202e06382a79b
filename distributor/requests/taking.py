"""What an environment takes for a release before rows are held back from it: the release, or its edition."""

from __future__ import annotations

from sqlalchemy import Connection, Engine

from distributor.ledger import editions, environments, releases, variants
from distributor.ledger.engine import transaction
from distributor.model.manifest import ZERO
from distributor.publishing.editions import edition_of
from distributor.requests.expectations import Content
from distributor.settings import Settings
from distributor.store.base import Store
from distributor.store.editions import store_of
from distributor.upkeep.collected import hold_on_to


def plain_content(conn: Connection, settings: Settings, store: Store, environment: str, number: int) -> Content:
    """The release, or its edition under the environment's masking policy, which is made on first need.

    `store` is the config's. Raises RefusedError for an unknown release, ConfigError when the policy cannot be had with
    its columns, StoreError.
    """
    if number == ZERO:
        return Content(None, None)
    policy = settings.masking_of(environment)
    if policy is None:
        return Content.read(store, releases.release(conn, number).manifest)
    return Content.read(store_of(settings, store, environment), edition_of(conn, settings, store, policy, number))


def taken_content(conn: Connection, settings: Settings, store: Store, environment: str, number: int) -> Content:
    """What the environment takes for a release by the ledger. Raises as `plain_content`.

    What it took under another policy, or in clear, is nothing that its members could read now: then it is what the
    release is at present, without anything held back.
    """
    own = variants.own(conn, environment, number) if number != ZERO else None
    if own is None or is_foreign(conn, settings, store, environment, number):
        return plain_content(conn, settings, store, environment, number)
    return Content.read(store_of(settings, store, environment), own[0])


def is_foreign(conn: Connection, settings: Settings, store: Store, environment: str, number: int) -> bool:
    """Whether the environment took a release under another policy than the config gives it now, or in clear."""
    if number == ZERO:
        return False
    masked = settings.masking_of(environment) is not None
    own = variants.own(conn, environment, number)
    if own is None:
        return masked
    sha256, rows = own
    if store_of(settings, store, environment).holds(sha256):
        return False
    # In clear it takes nothing but releases and variants: what has no rows held back was an edition.
    return masked or rows == 0 or any(store.edition(version).holds(sha256) for version in editions.policies(conn))


def prepare(engine: Engine, settings: Settings, store: Store, environment: str, release: int | None = None) -> None:
    """Makes the editions that a request for a release (None: the newest) will need, where there are none yet: that may
    take minutes, in which nobody should wait for the environment. Raises as `plain_content`."""
    if settings.masking_of(environment) is None:
        return
    with transaction(engine) as conn:
        newest = releases.head(conn)
        if newest is None:
            return
        number = newest.number if release is None else release
        hold_on_to(conn, store, number)
        state = environments.read(conn, environment)
        # The older one first, so that the newer one stands on it.
        if state is not None and state.shown < number:
            taken_content(conn, settings, store, environment, state.shown)
        plain_content(conn, settings, store, environment, number)
