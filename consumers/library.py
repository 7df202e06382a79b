"""What a member reads from the store again and again: manifests and certificates, the newest few kept in memory."""

from __future__ import annotations

from pydantic import ValidationError

from consumers.planning import Target, empty_certificate, target_of
from distributor.errors import StoreError
from distributor.mapping.tables import SystemMapping
from distributor.model.certificate import Certificate
from distributor.model.manifest import ZERO, Manifest
from distributor.model.repair import Repair
from distributor.rollout.member_row import MemberRow, Slot, SlotName, other
from distributor.store.base import Store
from distributor.store.chunks import read_manifest

_MANIFESTS = 8
_CERTIFICATES = 4


class Library:
    """For one thread. What reads from the store raises StoreError."""

    def __init__(self, store: Store, mapping: SystemMapping) -> None:
        self._store = store
        self._mapping = mapping
        self._manifests: dict[str, Manifest] = {}
        self._certificates: dict[str, Certificate] = {}

    def manifest(self, sha256: str) -> Manifest:
        """A release's manifest."""
        if sha256 not in self._manifests:
            while len(self._manifests) >= _MANIFESTS:
                del self._manifests[next(iter(self._manifests))]
            self._manifests[sha256] = read_manifest(self._store, sha256)
        return self._manifests[sha256]

    def certificate(self, text: str) -> Certificate:
        """A certificate from the JSON in the row: most often one that was written here."""
        if text not in self._certificates:
            self._keep(text, Certificate.model_validate_json(text))
        return self._certificates[text]

    def stored(self, slot: Slot) -> Certificate:
        """What a slot holds by its row."""
        return self.certificate(slot.certificate) if slot.certificate else empty_certificate(self._mapping)

    def written(self, certificate: Certificate) -> str:
        """A certificate as the JSON that goes into the row."""
        text = certificate.model_dump_json()
        self._keep(text, certificate)
        return text

    def target(self, release: int, manifest: str | None, row: MemberRow) -> Target:
        """What a slot shall hold; for release 0, in the shapes of what the slots hold. Raises SchemaError."""
        known = manifest or row.shadow.manifest or row.online.manifest
        return target_of(self._mapping, release, manifest, self.manifest(known) if known else None)

    def held(self, row: MemberRow, slot: SlotName) -> Target | None:
        """What a slot does hold, by its row; None while it is torn, or when that is under another mapping."""
        held, beside = row.slots[slot], row.slots[other(slot)]
        if not held.intact:
            return None
        if held.identity is None:
            # Both slots have the same tables: those of a release that lies in the other one, if any do.
            known = beside.manifest if beside.identity and beside.identity.mapping == self._mapping.version else None
            return target_of(self._mapping, ZERO, None, self.manifest(known) if known else None)
        if held.identity.mapping != self._mapping.version:
            return None
        return self.target(held.identity.release, held.manifest, row)

    def repair(self, sha256: str) -> Repair:
        """A repair list, all of whose chunks are there."""
        content = self._store.get(sha256)
        try:
            repair = Repair.model_validate_json(content)
        except ValidationError as error:
            raise StoreError(
                f"this is no repair list that this program can read: {error.errors(include_url=False)[0]['msg']}",
                where=f"repair list {sha256}",
                mend="Was it written by a newer version? Then upgrade this one.",
            ) from error
        for chunk in repair.chunks:
            self._store.local_path(chunk.sha256)
        return repair

    def _keep(self, text: str, certificate: Certificate) -> None:
        while len(self._certificates) >= _CERTIFICATES:
            del self._certificates[next(iter(self._certificates))]
        self._certificates[text] = certificate
