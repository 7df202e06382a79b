"""Each dataset's changes, from the master's rows to chunks and the image. Every one of them passes `Carrying._take`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from operator import itemgetter

import psycopg
import pyarrow as pa

from distributor.capture.inspect import Source
from distributor.capture.locks import confirm
from distributor.capture.rows import Block, all_rows, rows_of_keys
from distributor.model.certificate import EMPTY_TABLE
from distributor.publishing import image, keyed
from distributor.publishing.ahead import ahead
from distributor.publishing.changeset import ChangesetWriter, inserts
from distributor.publishing.compare import Comparison
from distributor.publishing.image import Compared
from distributor.publishing.looking import Look
from distributor.publishing.parent import Parent, Part
from distributor.publishing.proof import Missed, Proof
from distributor.publishing.result import Stopwatch
from distributor.store.base import Store
from distributor.store.chunks import changeset_schema

Told = Callable[[Iterator[Block], str], Iterator[Block]]
"""Hands a dataset's rows through, as they come from the master."""


class Carrying:
    """One publish's work on all datasets: `ledger` and `master` are connections in their transactions.

    `compared`: the master's tables as they were when the image was last compared with them. A dataset that is not in
    the parent, or has another shape there, fills its image; one that was not watched is compared whole; of the others
    the changed keys are looked up.
    """

    def __init__(
        self,
        ledger: psycopg.Connection,
        master: psycopg.Connection,
        look: Look,
        parent: Parent,
        compared: Mapping[str, Compared],
        store: Store | None,
        watch: Stopwatch,
        told: Told,
    ) -> None:
        self._ledger, self._master = ledger, master
        self._sources = look.sources
        self._keys = look.taken.keys
        self._watch, self._told = watch, told
        self._compared = compared
        self.new = (self._sources.keys() - parent.schemas.keys()) | look.restarts.keys()
        self.whole = {name for name in self._sources if name in look.taken.whole or self._moved(name)}
        # Of a dataset that must be read whole anyway nothing can be missed.
        self._proofs = {
            name: Proof(self._sources[name].schema, self._keys.get(name, ()))
            for name in look.proofs - self.whole - self.new
        }
        self._writers = {
            name: ChangesetWriter(source.schema, store, EMPTY_TABLE if name in self.new else parent.certificate(name))
            for name, source in self._sources.items()
        }

    @property
    def missed(self) -> dict[str, Missed | None]:
        """Datasets whose triggers were put to the proof → what they have missed."""
        return {name: proof.missed for name, proof in self._proofs.items()}

    def carry(self) -> dict[str, Part]:
        """Brings the image to the master's state; what that changed is written to the store on the way."""
        looked_up = []
        for name in self._sources:
            if name in self.new:
                self._fill(name)
            elif name in self.whole or name in self._proofs:
                self._compare(name)
            elif self._keys.get(name):
                looked_up.append(name)
        self._compare_keyed(looked_up)
        other = {n: s for n, s in self._sources.items() if self._compared.get(n) != Compared(s.identity, s.places)}
        if other:
            image.save_sources(self._ledger, other)
        return {name: Part(tuple(w.chunks), w.counts, w.certificate) for name, w in self._writers.items()}

    def _moved(self, name: str) -> bool:
        """Whether rows may have changed without a trigger's noticing."""
        before = self._compared.get(name)
        return before is None or before.identity != self._sources[name].identity

    def _take(self, name: str, changes: pa.Table) -> None:
        """Takes a piece of a dataset's changes in the columns of a chunk, before anything of it is written."""
        if name in self._proofs:
            self._proofs[name].add(changes)
        self._writers[name].add(changes)

    def _rows(self, source: Source) -> Iterator[Block]:
        yield from all_rows(self._master, source)
        confirm(self._master, source)

    def _fill(self, name: str) -> None:
        source = self._sources[name]

        def taken() -> Iterator[Block]:
            for block in self._told(self._rows(source), name):
                self._take(name, inserts(source.schema, block))
                yield block

        with self._watch.phase("read"):
            image.fill(self._ledger, source.schema, taken(), source)

    def _compare(self, name: str) -> None:
        source = self._sources[name]
        comparison = Comparison(self._ledger, source.schema)
        with self._watch.phase("read"):
            comparison.receive(self._told(self._rows(source), name))
            comparison.refuse_bad_keys(source)
        with self._watch.phase("compare"):
            names = changeset_schema(source.schema).names
            for block in comparison.changes():
                self._take(name, block.table(names))
        with self._watch.phase("image"):
            comparison.apply(self._writers[name].counts)
            comparison.close()

    def _compare_keyed(self, names: list[str]) -> None:
        """While the ledger writes a block to the image, the block's chunk and certificates are made."""
        blocks = (
            (name, block)
            for name in names
            for block in self._told(rows_of_keys(self._master, self._sources[name], self._keys[name]), name)
        )
        for name, read in groupby(ahead(blocks), itemgetter(0)):
            schema = self._sources[name].schema
            with self._watch.phase("compare"), ThreadPoolExecutor(1) as hand:
                for changes in keyed.differences(self._ledger, schema, (block for _, block in read)):
                    applied = hand.submit(keyed.apply, self._ledger, schema, changes)
                    self._take(name, changes)
                    applied.result()
