"""Rows that are held back: out of the delivery they go, and with them whoever cannot do without.

What is held back is as it was in the release before. That may break a rule for another row (it takes a value that the
held row still has, or names a row that does not come), so rules are asked again until nothing more is found; at the
latest then when the delivery is empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from distributor.errors import RuleFailedError
from distributor.ledger.quarantine import HeldRow, Key
from distributor.quality.delivery import Delivery
from distributor.quality.findings import SAMPLES, Failures, Offender, listed, shown
from distributor.quality.lookups import deleted_keys, not_unique, orphans, without_referenced
from distributor.quality.rows import RowRules
from distributor.settings.rules import QuarantineSettings, Rule
from distributor.store.chunks import AFTER, OP, Op

DEPENDS = "references "
"""How the reason begins for which a row is held back that itself fails no rule."""


@dataclass(frozen=True, slots=True)
class Held:
    """Why a row is held back; `rule` is None for one that only references another."""

    dataset: str
    key: Key
    values: tuple[tuple[str, str | None], ...]
    why: str
    rule: Rule | None = None

    def __str__(self) -> str:
        return f"{' '.join(self.key)}: {shown(self.values)}"


Row = tuple[str, Key]


@dataclass
class Holding:
    """Holds rows back, once. `before`: what was held back already; `rules`: the row rules of each dataset."""

    delivery: Delivery
    rules: Mapping[str, RowRules]
    settings: QuarantineSettings
    before: Mapping[Row, HeldRow]
    held: dict[Row, Held] = field(default_factory=dict)

    def __post_init__(self) -> None:
        delivery = self.delivery
        self._sizes = {name: max(delivery.rows_before(name), delivery.rows_after(name)) for name in delivery.schemas}

    def run(self) -> dict[Row, Held]:
        """Takes rows out of the delivery until what is left fails no rule that holds back.

        Raises RuleFailedError when that would be more of a dataset than the settings allow.
        """
        found = self._by_rows() or self._by_others()
        while found:
            self._with_dependents(found)
            self.held |= found
            self._check_budget({})
            for dataset in {dataset for dataset, _ in found}:
                self.delivery.take_back(dataset, [key for of, key in found if of == dataset])
            found = self._by_others()
        return self.held

    def _by_rows(self) -> dict[Row, Held]:
        found: dict[Row, Held] = {}
        for dataset, rules in self.rules.items():
            holding = [rule for rule in rules.rules if holds_back(self.delivery, dataset, rule)]
            failures = {rule.name: self._failures(dataset) for rule in holding}
            for rows in self.delivery.rows(dataset) if holding else ():
                for rule, mask, notes in rules.failing(rows):
                    if kept := failures.get(rule.name):
                        kept.add(pc.sum(mask).as_py() or 0, rules.offenders(rows, rule, mask, notes, kept.room))
            for rule in holding:
                self._keep(found, dataset, rule, failures[rule.name])
        return found

    def _by_others(self) -> dict[Row, Held]:
        found: dict[Row, Held] = {}
        for dataset, rule in self._lookups("unique"):
            failures = self._failures(dataset)
            not_unique(self.delivery, dataset, rule, failures)
            self._keep(found, dataset, rule, failures)
        deleted: dict[str, Any] = {}
        for dataset, rule in self._lookups("references"):
            target = self._target(dataset, rule)
            if target not in deleted:
                deleted[target] = deleted_keys(self.delivery, target)
            failures = self._failures(dataset)
            without_referenced(self.delivery, dataset, rule, failures, deleted[target], moved=True)
            self._keep(found, dataset, rule, failures)
        if found:
            return found
        # A deletion is held back only for rows that stay: those that could not move to it are as they were by now.
        for dataset, rule in self._lookups("references"):
            failures = self._failures(self._target(dataset, rule))
            orphans(self.delivery, dataset, rule, failures, once=True)
            self._keep(found, dataset, rule, failures)
        return found

    def _with_dependents(self, found: dict[Row, Held]) -> None:
        """Adds the rows of the delivery that reference these ones, and those that reference them."""
        news: Mapping[Row, Held] = dict(found)
        while news:
            more = {row: one for row, one in self._dependents(news) if row not in found and row not in self.held}
            for dataset, _ in more:
                self._check_shape(dataset, next(iter(news)))
            found |= more
            news = more

    def _check_shape(self, dataset: str, held: Row) -> None:
        if dataset in self.delivery.restarted:
            raise RuleFailedError(
                f"{held[0]} {' '.join(held[1])} would be held back, and rows of {dataset} reference it; this release"
                f" has {dataset} in another shape, and nobody knows what these rows were before",
                where=f"dataset {dataset}",
                mend="Correct that row on the master. Nothing was published, and nothing is lost.",
            )

    def _dependents(self, of: Mapping[Row, Held]) -> Iterator[tuple[Row, Held]]:
        targets = {dataset for dataset, _ in of}
        for dataset, config in self.delivery.datasets.items():
            for column, target in config.references.items():
                if target not in targets or len(self.delivery.schemas[target].key) != 1:
                    continue
                keys = pa.array([key[0] for held, key in of if held == target], pa.string())
                yield from self._referencing(dataset, column, target, keys)

    def _referencing(self, dataset: str, column: str, target: str, keys: Any) -> Iterator[tuple[Row, Held]]:
        names = self.delivery.schemas[dataset].key
        for piece in self.delivery.changes(dataset):
            there: Any = pc.not_equal(piece[OP], pa.scalar(Op.DELETE.value))
            for row in piece.filter(pc.and_(there, pc.is_in(piece[AFTER + column], keys))).to_pylist():
                key = tuple(row[AFTER + name] for name in names)
                value = row[AFTER + column]
                why = f"{DEPENDS}{target} {value}, which is held back"
                yield (dataset, key), Held(dataset, key, ((column, value),), why)

    def _keep(self, found: dict[Row, Held], dataset: str, rule: Rule, failures: Failures) -> None:
        """Takes what a rule found in; rows that may pass once are not held back."""
        for offender in failures.offenders:
            held = self._held(dataset, rule, offender)
            row = offender.hold
            known = self.before.get(row)
            passes = known is not None and known.let_pass is not None
            if row not in found and row not in self.held and not passes:
                found[row] = held
        if failures.count > len(failures.offenders):
            # More than can ever be held back: the figures are the rule's, not those of what was looked at.
            self._check_budget({(failures.offenders[0].hold[0], rule.name): failures})

    def _check_budget(self, over: Mapping[tuple[str, str], Failures]) -> None:
        for (dataset, name), failures in over.items():
            samples = [str(offender) for offender in failures.offenders[:SAMPLES]]
            self._refuse(dataset, {f"the rule {name}": failures.count}, listed(samples, failures.count))
        for dataset in sorted({dataset for dataset, _ in self.held}):
            rows = [one for (of, _), one in self.held.items() if of == dataset]
            if len(rows) > self._most(dataset):
                why = [f"the rule {one.rule.name}" if one.rule else "references" for one in rows]
                samples = [f"{one} {one.why}" for one in rows[:SAMPLES]]
                self._refuse(dataset, {name: why.count(name) for name in sorted(set(why))}, listed(samples, len(rows)))

    def _refuse(self, dataset: str, figures: Mapping[str, int], samples: str) -> None:
        told = ", ".join(f"{name}: {rows:,}" for name, rows in figures.items())
        rows = sum(figures.values())
        raise RuleFailedError(
            f"{rows:,} rows would be held back ({told}), and at most {self._most(dataset):,} of its"
            f" {self._sizes[dataset]:,} may be: {samples}",
            where=f"dataset {dataset}",
            mend="Correct them on the master, or raise max_rows"
            f" ({self.settings.max_rows}) and max_share ({self.settings.max_share:g}) in [quarantine]."
            " Nothing was published, and nothing is lost.",
        )

    def _failures(self, dataset: str) -> Failures:
        return Failures(self._most(dataset) + 1 + len(self.before))

    def _most(self, dataset: str) -> int:
        return self.settings.most(self._sizes[dataset])

    def _held(self, dataset: str, rule: Rule, offender: Offender) -> Held:
        of, key = offender.hold
        if of != dataset:
            why = f"is deleted, which fails the rule {rule.name} of {dataset} ({rule.told})"
            return Held(of, key, ((self.delivery.schemas[of].key[0], key[0]),), why, rule)
        return Held(of, key, offender.values, f"fails the rule {rule.name} ({rule.told})", rule)

    def _lookups(self, kind: str) -> Iterator[tuple[str, Rule]]:
        for dataset in self.delivery.schemas:
            for rule in self.delivery.datasets[dataset].rules:
                if rule.kind == kind and holds_back(self.delivery, dataset, rule):
                    yield dataset, rule

    def _target(self, dataset: str, rule: Rule) -> str:
        return self.delivery.datasets[dataset].references[rule.columns[0]]


def holds_back(delivery: Delivery, dataset: str, rule: Rule) -> bool:
    """Whether the rule holds rows back in this release. Of a dataset that begins anew in another shape nobody knows
    what a row was before, so there it refuses."""
    target = delivery.datasets[dataset].references.get(rule.references or "", dataset)
    return rule.on_fail == "quarantine" and not {dataset, target} & set(delivery.restarted)
