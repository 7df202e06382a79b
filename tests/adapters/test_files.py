"""Flat files sit the exam in two forms, and answer for what only they promise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from consumers.adapters.base import TableSpec
from consumers.adapters.files import FilesAdapter
from consumers.conformance.exam import AdapterConformance
from consumers.conformance.seat import Meddler, Reader, Seat, Sight
from distributor.settings import MemberSettings
from tests.adapters.files_meddler import FilesMeddler, Written, slot_file

pytestmark = pytest.mark.conformance

PLAIN = Written()
LEGACY = Written(encoding="cp1252", delimiter=",", quotes_all=True, line_end="\r\n", header=True)
LEGACY_OPTIONS: dict[str, str | int | bool] = {
    "encoding": "cp1252",
    "delimiter": ",",
    "quote": "all",
    "line_end": "windows",
    "header": True,
}


class FilesReader:
    """An importer: it opens the directory once, and reads in it."""

    def __init__(self, root: Path, form: Written) -> None:
        self._current = root / "current"
        self._form = form

    def look(self, table: TableSpec) -> Sight:
        while True:
            descriptor = os.open(self._current, os.O_RDONLY | os.O_DIRECTORY)
            try:
                (told,) = self._rows(descriptor, "distributor_release")
                rows = self._rows(descriptor, table.name)
                names = table.schema.column_names
                return Sight(int(told["release"] or ""), frozenset(tuple(row[name] for name in names) for row in rows))
            except FileNotFoundError:
                # Two flips have passed since the directory was opened: it is gone.
                if not os.path.lexists(self._current / f"{table.name}.csv"):
                    raise
            finally:
                os.close(descriptor)

    def close(self) -> None:
        pass

    def _rows(self, directory: int, name: str) -> list[dict[str | None, str | None]]:
        with os.fdopen(os.open(f"{name}.csv", os.O_RDONLY, dir_fd=directory), "rb") as file:
            return self._form.named(file.read())


class FilesSeat:
    def __init__(
        self, directory: Path, form: Written = PLAIN, options: dict[str, str | int | bool] | None = None
    ) -> None:
        self.directory = directory
        self.root = directory / "billing"
        self.form = form
        self.options = options or {}

    def adapter(self) -> FilesAdapter:
        settings = MemberSettings(adapter="files", url="files:///billing", options=self.options)
        return FilesAdapter(settings, self.directory)

    def reader(self) -> Reader:
        return FilesReader(self.root, self.form)

    def meddler(self) -> Meddler:
        return FilesMeddler(self.root, self.form)

    def drop_column(self, table: TableSpec, column: str) -> None:
        path, at = slot_file(self.root, "b", table.name), table.schema.column_names.index(column)
        kept = [name for name in table.schema.column_names if name != column]
        records = [cells[:at] + cells[at + 1 :] for cells in self.form.records(path.read_bytes())]
        path.write_bytes(self.form.content(kept, records))

    def lose(self, name: str) -> None:
        (self.root / "current" / f"{name}.csv").unlink()

    def occupy(self, name: str) -> None:
        (self.root / "current").mkdir(parents=True, exist_ok=True)
        (self.root / "current" / f"{name}.csv").write_bytes(self.form.content(["one"], [["1"]]))

    def occupied(self, name: str) -> int:
        return len(self.form.records((self.root / "current" / f"{name}.csv").read_bytes()))


class TestFiles(AdapterConformance):
    @pytest.fixture
    def seat(self, tmp_path: Path) -> Seat:
        return FilesSeat(tmp_path)


@pytest.mark.long
class TestFilesOfALegacySystem(AdapterConformance):
    @pytest.fixture
    def seat(self, tmp_path: Path) -> Seat:
        return FilesSeat(tmp_path, LEGACY, LEGACY_OPTIONS)


@pytest.fixture
def seat(tmp_path: Path) -> FilesSeat:
    return FilesSeat(tmp_path)
