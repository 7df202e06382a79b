"""Every question of test_auditing.py, asked of flat files and of the template."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.adapters.test_auditing import (  # noqa: F401 - collected here once more, with this module's seat.
    adapter,
    auditor,
    test_a_load_can_be_audited_before_its_commit,
    test_a_snapshot_sees_neither_the_load_nor_the_flip_that_happen_meanwhile,
    test_an_audit_that_runs_is_ended_by_another_thread,
    test_buckets_leaves_and_rows_are_those_of_the_page,
)
from tests.adapters.test_files import FilesSeat
from tests.adapters.test_template import TemplateSeat

pytestmark = pytest.mark.conformance


@pytest.fixture(params=[FilesSeat, TemplateSeat])
def seat(request: pytest.FixtureRequest, tmp_path: Path) -> FilesSeat | TemplateSeat:
    made: FilesSeat | TemplateSeat = request.param(tmp_path)
    return made
