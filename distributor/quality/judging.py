"""Quality rules at publish: which rows are held back, and whether the rest may go out. Called once per publish."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from sqlalchemy import Connection

from distributor.errors import RuleFailedError
from distributor.ledger import audit, quarantine
from distributor.ledger.quarantine import EVERYWHERE, HeldRow, Key
from distributor.model.dataset import DatasetSchema
from distributor.publishing.parent import Part
from distributor.quality.delivery import Delivery
from distributor.quality.findings import SAMPLES, Failures, Finding
from distributor.quality.holding import DEPENDS, Held, Holding, Row, holds_back
from distributor.quality.lookups import (
    check_rules,
    deleted_keys,
    make_indexes,
    not_unique,
    orphans,
    without_referenced,
)
from distributor.quality.rows import RowRules
from distributor.quality.volume import Sizes, violations
from distributor.settings.models import Settings
from distributor.settings.rules import Rule
from distributor.store.base import Store
from distributor.store.directory import DirectoryStore

_WHO = "publisher"


@dataclass(frozen=True, slots=True)
class Judged:
    """What goes out, and what is said about it. `held` is how many rows of each dataset are held back now, `let_go`
    how many no longer are; of `findings` those that hold back are of rows that were not held back before."""

    parts: Mapping[str, Part] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    held: Mapping[str, int] = field(default_factory=dict)
    let_go: Mapping[str, int] = field(default_factory=dict)


class Quality:
    """The rules of a config. One per thread; give the memory back with `close`."""

    def __init__(self, settings: Settings) -> None:
        self._datasets = settings.master.datasets
        self._settings = settings.quarantine
        self._compiled: dict[str, tuple[DatasetSchema, RowRules]] = {}
        # What rules needed that are no longer in the config is looked for once.
        self._tidied = False

    def close(self) -> None:
        """Gives the memory back."""
        for _, rules in self._compiled.values():
            rules.close()
        self._compiled.clear()

    def held(self, ledger: Connection) -> list[HeldRow]:
        """What is held back from every environment: it is to be read again, whatever changed."""
        return quarantine.held(ledger, EVERYWHERE)

    @contextmanager
    def spool(self, store: Store, held: Iterable[HeldRow], *, dry_run: bool) -> Iterator[Store | None]:
        """Where the chunks of this publish go: for a dry run a place that goes away, or nowhere without rules."""
        if not dry_run:
            yield store
        elif not self._has_rules and not tuple(held):
            yield None
        else:
            with tempfile.TemporaryDirectory(prefix="distributor-") as path:
                yield DirectoryStore(Path(path))

    def judge(self, ledger: Connection, delivery: Delivery, before: Iterable[HeldRow]) -> Judged:
        """Holds rows back, and judges the rest; what is held back is remembered in the ledger's transaction.

        Raises RuleFailedError when a rule refuses, SchemaError and ConfigError for rules that do not fit the columns.
        """
        known = {(row.dataset, row.key): row for row in before}
        if not self._has_rules and not known:
            if not self._tidied:
                make_indexes(delivery.image, {})
                self._tidied = True
            return Judged(delivery.parts)
        check_rules(self._datasets, delivery.schemas)
        rules = {name: self._rules(schema) for name, schema in delivery.schemas.items() if self._datasets[name].rules}
        make_indexes(delivery.image, {name: self._datasets[name] for name in delivery.schemas})
        findings = list(_volumes(delivery))
        _refuse(findings)
        held = Holding(delivery, rules, self._settings, known).run()
        findings += _of_rows(delivery, rules)
        findings += _of_others(delivery)
        _refuse(findings)
        let_go = self._remember(ledger, delivery, held, known)
        findings += _held_back(held, known)
        _note(ledger, delivery, findings)
        return Judged(delivery.parts, tuple(findings), _counted(held), _counted(let_go))

    @property
    def _has_rules(self) -> bool:
        return any(dataset.rules for dataset in self._datasets.values())

    def _rules(self, schema: DatasetSchema) -> RowRules:
        found = self._compiled.get(schema.dataset)
        if found is None or found[0] != schema:
            if found:
                found[1].close()
            found = schema, RowRules(schema, self._datasets[schema.dataset].rules)
            self._compiled[schema.dataset] = found
        return found[1]

    def _remember(
        self, ledger: Connection, delivery: Delivery, held: Mapping[Row, Held], known: Mapping[Row, HeldRow]
    ) -> set[Row]:
        let_go = known.keys() - held.keys()
        for dataset in {dataset for dataset, _ in let_go}:
            quarantine.let_go(ledger, EVERYWHERE, dataset, [key for of, key in let_go if of == dataset])
        quarantine.hold(ledger, [_entry(one, delivery) for one in held.values()])
        return let_go


def _entry(held: Held, delivery: Delivery) -> HeldRow:
    column, value = held.values[0] if held.values else ("", None)
    return HeldRow(
        environment=EVERYWHERE,
        dataset=held.dataset,
        key=held.key,
        release=delivery.release,
        system="",
        table=held.dataset,
        column=column,
        value=value,
        why=held.why,
        since=delivery.at,
    )


def _volumes(delivery: Delivery) -> Iterator[Finding]:
    for dataset in delivery.schemas:
        counts, anew = delivery.parts[dataset].counts, dataset in delivery.restarted
        sizes = Sizes(
            delivery.rows_before(dataset),
            delivery.rows_after(dataset),
            None if anew else counts.deletes,
            None if anew else counts.updates,
        )
        for rule in delivery.datasets[dataset].rules:
            if rule.volume:
                found = tuple(violations(rule.volume, sizes))
                if found:
                    yield Finding(dataset, rule.name, rule.told, rule.on_fail, 0, found)


def _of_rows(delivery: Delivery, rules: Mapping[str, RowRules]) -> Iterator[Finding]:
    for dataset, of_dataset in rules.items():
        judged = {rule.name: Failures() for rule in of_dataset.rules if not holds_back(delivery, dataset, rule)}
        if not judged:
            continue
        for rows in delivery.rows(dataset):
            for rule, mask, notes in of_dataset.failing(rows):
                if failures := judged.get(rule.name):
                    found = of_dataset.offenders(rows, rule, mask, notes, failures.room)
                    failures.add(pc.sum(mask).as_py() or 0, found)
        yield from _failed(dataset, of_dataset.rules, judged)


def _of_others(delivery: Delivery) -> Iterator[Finding]:
    deleted: dict[str, Any] = {}
    for dataset in delivery.schemas:
        config = delivery.datasets[dataset]
        judged: dict[str, Failures] = {}
        for rule in config.rules:
            if holds_back(delivery, dataset, rule) or rule.kind not in ("unique", "references"):
                continue
            failures = judged[rule.name] = Failures()
            if rule.unique:
                not_unique(delivery, dataset, rule, failures)
                continue
            target = config.references[rule.columns[0]]
            if target not in deleted:
                deleted[target] = deleted_keys(delivery, target)
            without_referenced(delivery, dataset, rule, failures, deleted[target], moved=False)
            orphans(delivery, dataset, rule, failures, once=False)
        yield from _failed(dataset, config.rules, judged)


def _failed(dataset: str, rules: Iterable[Rule], judged: Mapping[str, Failures]) -> Iterator[Finding]:
    for rule in rules:
        failures = judged.get(rule.name)
        if failures and failures.count:
            yield Finding.of(dataset, rule, "warn" if rule.on_fail == "warn" else "refuse", failures)


def _refuse(findings: Iterable[Finding]) -> None:
    refused = [finding for finding in findings if finding.on_fail == "refuse"]
    if refused:
        raise RuleFailedError(
            "nothing was published: " + " | ".join(map(str, refused)),
            where=", ".join(dict.fromkeys(f"dataset {finding.dataset}" for finding in refused)),
            mend="Correct these rows on the master, or change the rule in the config. Nothing is lost: what changed"
            " goes into the next release.",
        )


def _held_back(held: Mapping[Row, Held], known: Mapping[Row, HeldRow]) -> Iterator[Finding]:
    news: dict[tuple[str, str, str], list[Held]] = {}
    for row, one in held.items():
        if row not in known:
            rule = (one.rule.name, one.rule.told) if one.rule else (DEPENDS.strip(), "what is held back")
            news.setdefault((one.dataset, *rule), []).append(one)
    for (dataset, name, told), rows in news.items():
        yield Finding(dataset, name, told, "quarantine", len(rows), tuple(map(str, rows[:SAMPLES])))


def _note(ledger: Connection, delivery: Delivery, findings: Iterable[Finding]) -> None:
    for finding in findings:
        what = "hold back" if finding.on_fail == "quarantine" else "warn"
        detail = {"release": delivery.release, "dataset": finding.dataset, "rule": finding.rule, "rows": finding.rows}
        audit.record(ledger, audit.AuditRecord(delivery.at, _WHO, what, str(finding), detail=detail))


def _counted(rows: Iterable[tuple[str, Key]]) -> dict[str, int]:
    datasets = [dataset for dataset, _ in rows]
    return {name: datasets.count(name) for name in sorted(set(datasets))}
