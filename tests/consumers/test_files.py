"""A living member on flat files: from nothing through deltas to readers, killed at every point, altered and mended."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from distributor.rollout.member_row import MemberRow
from distributor.wire.messages import HelloReport, SettledReport
from tests.adapters.files_meddler import Written, slot_file
from tests.consumers.catalogue import Catalogue, Content
from tests.consumers.estate import Coordinator, Member, certified
from tests.consumers.test_kills import test_killed_anywhere  # noqa: F401 - collected here once more.
from tests.consumers.test_repairs import (  # noqa: F401
    test_an_audit_names_buckets_leaves_and_rows,
    test_wrong_rows_are_mended_through_the_shadow_and_the_old_slot_when_it_settles,
)
from tests.consumers.test_scenarios import (  # noqa: F401
    online,
    publish_three,
    test_a_view_that_is_dropped_by_hand_comes_back_with_the_next_stage_or_start,
    test_back_by_the_reverse_of_a_chain,
    test_from_nothing_through_deltas_and_a_chain_to_readers,
    test_late_flip_after_revert,
    test_settling_brings_the_old_slot_up_so_that_the_next_stage_is_one_delta,
)
from tests.consumers.test_shapes import test_members_go_over_another_shape_and_back  # noqa: F401

pytestmark = [pytest.mark.services, pytest.mark.long]

FORM = Written()


class FilesMember(Member):
    """Its store is looked at and altered as files."""

    @property
    def root(self) -> Path:
        return self.directory / "billing"

    def shows(self) -> int:
        return int(self._seen("distributor_release")[0]["release"] or 0)

    def content(self) -> Content:
        wanted = {"products": ("items", "sku, name, weight, active"), "prices": ("prices", "sku, currency, amount")}
        return {
            dataset: {tuple(row[name] for name in names.split(", ")) for row in self._seen(table)}
            for dataset, (table, names) in wanted.items()
        }

    def row(self) -> MemberRow:
        kept = json.loads((self.root / "_distributor" / "member.json").read_text())
        return MemberRow.model_validate(kept["row"])

    def lose_view(self, name: str) -> None:
        (self.root / "current" / f"{name}.csv").unlink()

    def alter(self, slot: str, table: str, change: str) -> int:
        """By SQL over the file's records, which are written back in place."""
        active = self.row().active
        path = slot_file(self.root, active if slot == "online" else {"a": "b", "b": "a"}[active], table)
        rows = FORM.named(path.read_bytes())
        names = [str(name) for name in rows[0]]
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.execute(f"CREATE TABLE {table} ({', '.join(names)})")
            marks = ", ".join("?" * len(names))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", [tuple(row.values()) for row in rows])
            changed = connection.execute(f"UPDATE {table} {change}").rowcount
            found = connection.execute(f"SELECT * FROM {table}").fetchall()
        path.write_bytes(FORM.content(names, [[FORM.cell(text) for text in row] for row in found]))
        return changed

    def _query(self, statement: str) -> list[tuple[str | None, ...]]:
        """One column of one table, as readers see it."""
        _, column, _, table = statement.split()
        return [(row[column],) for row in self._seen(table)]

    def _seen(self, table: str) -> list[dict[str | None, str | None]]:
        return FORM.named((self.root / "current" / f"{table}.csv").read_bytes())


@pytest.fixture
def member(tmp_path: Path, amqp_url: str, catalogue: Catalogue) -> Iterator[FilesMember]:
    made = FilesMember(tmp_path, "files", f"files:///{tmp_path}/billing", amqp_url, catalogue)
    yield made
    made.close()


@pytest.fixture
def sqlite_member(member: FilesMember) -> FilesMember:
    """The name under which tests ask for a member where the kind of store does not matter."""
    return member


def test_importers_know_the_change_by_its_contents(
    member: FilesMember, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    """Each delta begins with what importers have, and has what changed since: by the releases, not by the slot."""
    publish_three(catalogue)
    member.start()
    coordinator.expect(HelloReport)
    imported, changed = None, []
    for release in (1, 2, 3):
        epoch = 2 * release
        online(coordinator, epoch, release, from_release=release - 1)
        coordinator.send(coordinator.settle(epoch + 1, release))
        coordinator.expect(SettledReport)
        found = json.loads((member.root / "current" / "delta" / "delta.json").read_text())
        assert (found["release"], found["content"]) == (release, certified(catalogue.manifest(release)).digest)
        assert found["since"]["content"] == imported
        imported = found["content"]
        changed.append(found["tables"]["items"])
    nothing = {"why": "it was loaded anew, from nothing"}
    assert changed == [nothing, {"I": 0, "U": 10, "D": 5}, {"I": 5, "U": 1, "D": 0}]
