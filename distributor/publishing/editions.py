"""Editions: releases as environments see them that must not see everything.

An edition is made of the store alone, from the changes of the clear release: each row is masked before it is written,
and everything that is certified is folded over masked rows. Its parent is the edition before it; the first one of a
policy has all rows, and release 0 as its parent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from distributor.errors import ConfigError, SchemaError, StoreError
from distributor.ledger import editions, releases
from distributor.mapping.tables import SystemMapping, is_joined, unjoined
from distributor.masking.compiled import compiled
from distributor.masking.policy import Policy
from distributor.masking.values import Mask
from distributor.model.certificate import EMPTY_TABLE, Certificate
from distributor.model.dataset import DatasetSchema
from distributor.model.manifest import ZERO, Manifest
from distributor.publishing.changeset import ChangesetWriter
from distributor.publishing.mapped import mapped
from distributor.publishing.masked import gathered, masked_changes, masks_of
from distributor.publishing.parent import Parent, Part
from distributor.settings.models import Settings
from distributor.store.base import Store
from distributor.store.chain import Chain, walk
from distributor.store.chunks import read_manifest, write_manifest
from distributor.store.compose import net_delta
from distributor.store.editions import begun
from distributor.store.ways import Ways
from distributor.telemetry.clock import now

_FIRST = "it is new to this edition"


def edition_of(conn: Connection, settings: Settings, store: Store, policy: Policy, number: int) -> str:
    """The sha256 of the manifest that a release has under a policy, in `store.edition`; made unless it is there.

    Raises RefusedError for an unknown release, ConfigError when the policy cannot be had with its columns, StoreError.
    """
    known = editions.known(conn, policy.version, number)
    if known is not None and store.edition(policy.version).holds(known):
        return known
    if known is not None:
        editions.forget(conn, policy.version)
    sha256 = _made(conn, settings, store, policy, number)
    return editions.put(conn, policy.version, number, sha256, now())


def follow(conn: Connection, settings: Settings, store: Store, release: Manifest) -> dict[str, str]:
    """The editions of a release that was just made, for every policy in use whose editions go as far as its parent.

    Those of other policies are made when an environment needs them. Returns policy → why its edition could not be made:
    what cannot be masked keeps nobody from the release who sees it in clear. Raises StoreError.
    """
    failed = {}
    for policy in settings.policies_in_use:
        if release.parent_release != ZERO and editions.known(conn, policy.version, release.parent_release) is None:
            continue
        try:
            edition_of(conn, settings, store, policy, release.release)
        except (ConfigError, SchemaError) as error:
            failed[policy.name] = str(error)
    return failed


def _made(conn: Connection, settings: Settings, store: Store, policy: Policy, number: int) -> str:
    record = releases.release(conn, number)
    clear = read_manifest(store, record.manifest)
    # What has left the config may have left the policy with it.
    known = tuple(schema for schema in clear.schemas if unjoined(schema.dataset) in settings.master.datasets)
    schemas = {schema.dataset: schema for schema in known}
    own = {name: schema for name, schema in schemas.items() if not is_joined(name)}
    masks = compiled(policy, own, settings.references)
    found = {name: masks_of(schema, own, masks, settings.references) for name, schema in schemas.items()}
    wanted = {name: one for name, one in found.items() if one is not None}
    schemas = {name: schemas[name] for name in wanted}
    edition = begun(store, policy)
    parent, chain = _parent(conn, store, edition, policy, clear, record.manifest)
    before = parent.schemas
    new = {name for name, schema in schemas.items() if before.get(name) != schema or chain.restarts(name)}
    anew = Ways(store, record.manifest, number).anew() if new else chain
    parts = {
        name: _part(store, edition, schemas[name], columns, anew if name in new else chain, parent, new=name in new)
        for name, columns in wanted.items()
    }
    certificates = mapped(conn, edition, parent, _mappings(settings, policy), schemas, parts, new)
    manifest = Manifest(
        release=number,
        parent_release=parent.release,
        parent=parent.sha256,
        created_at=clear.created_at,
        schemas=tuple(schemas.values()),
        chunks=tuple(chunk for part in parts.values() for chunk in part.chunks),
        counts={name: part.counts for name, part in parts.items() if name in own},
        certificate=Certificate(tables={name: part.certificate for name, part in parts.items()}),
        restarts=_restarts(clear, new) if parent.manifest else {},
        mapped=certificates,
    )
    return write_manifest(edition, manifest)


def _parent(
    conn: Connection, store: Store, edition: Store, policy: Policy, clear: Manifest, sha256: str
) -> tuple[Parent, Chain]:
    """The nearest older edition, and the clear changes since; where none can be had, release 0 and all rows."""
    older = editions.before(conn, policy.version, clear.release)
    if older is not None and edition.holds(older[1]):
        number, manifest = older
        try:
            chain = walk(store, sha256, clear.release, releases.release(conn, number).manifest, number)
            return Parent(number, manifest, read_manifest(edition, manifest)), chain
        except StoreError:
            # What lies between was collected, or is damaged: then all rows have to come from a base.
            pass
    return Parent(ZERO, None, None), Ways(store, sha256, clear.release).anew()


def _part(
    store: Store,
    edition: Store,
    schema: DatasetSchema,
    masks: Sequence[Mask | None],
    chain: Chain,
    parent: Parent,
    *,
    new: bool,
) -> Part:
    writer = ChangesetWriter(schema, edition, EMPTY_TABLE if new else parent.certificate(schema.dataset))
    pieces = (masked_changes(schema, masks, piece) for piece in net_delta(store, chain, schema))
    for table in gathered(pieces):
        writer.add(table)
    return Part(tuple(writer.chunks), writer.counts, writer.certificate)


def _mappings(settings: Settings, policy: Policy) -> list[SystemMapping]:
    """Of the systems that see the policy's rows."""
    systems = {
        system
        for environment in settings.environments.values()
        if environment.masking == policy.name
        for system in environment.systems
    }
    return [settings.mapping(system) for system in sorted(systems & settings.systems.keys())]


def _restarts(clear: Manifest, new: Iterable[str]) -> dict[str, tuple[str, ...]]:
    return {name: clear.restarts.get(name, (_FIRST,)) for name in sorted(new)}
