"""What docs/adapters/files.md says, besides what the exam asks of every adapter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consumers.adapters import files_form, files_load
from consumers.adapters.base import Obstacle
from consumers.adapters.files import FilesAdapter
from consumers.adapters.files_form import Form
from consumers.adapters.files_table import write
from consumers.conformance.exam import ENVIRONMENT, SYSTEM
from consumers.conformance.hands import certificate_of, flip, holding, load
from consumers.conformance.samples import KEY_TABLE, PRICE_TABLE, SAMPLE_TABLE, Row, batch, numbered_rows
from consumers.conformance.seat import Sight
from consumers.conformance.shapes import WIDER, shaped_rows
from distributor.errors import ConfigError, SystemAlteredError, UnreachableError
from distributor.model.certificate import Certificate
from distributor.rollout.member_row import MemberRow, Slot, SlotIdentity
from distributor.settings import MemberSettings
from tests.adapters.files_meddler import Written, slot_file
from tests.adapters.test_files import LEGACY, LEGACY_OPTIONS, FilesSeat

pytestmark = pytest.mark.conformance

TABLES = (PRICE_TABLE, KEY_TABLE)
HERE = Path(__file__).parents[2]


@pytest.fixture
def seat(tmp_path: Path) -> FilesSeat:
    return FilesSeat(tmp_path)


@pytest.fixture
def adapter(seat: FilesSeat) -> Iterator[FilesAdapter]:
    adapter = seat.adapter()
    adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    yield adapter
    adapter.close()


def current(seat: FilesSeat, name: str) -> bytes:
    return (seat.root / "current" / name).read_bytes()


def about(seat: FilesSeat) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(current(seat, "delta/delta.json"))
    return found


# Options and form


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"colour": "red"}, "no option 'colour'.*Known: encoding, delimiter, quote, line_end, header"),
        ({"encoding": "base64"}, "no character set"),
        ({"encoding": "idna"}, "no character set"),
        ({"encoding": "martian"}, "no character set"),
        ({"delimiter": ";;"}, "no delimiter"),
        ({"delimiter": '"'}, "no delimiter"),
        ({"quote": "never"}, '"minimal" or "all"'),
        ({"line_end": "mac"}, '"unix" or "windows"'),
        ({"header": 1}, "header is true or false, not 1"),
        ({"encoding": 1252}, "encoding is a text, not 1252"),
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        FilesSeat(tmp_path, options=options).adapter()


def test_options_are_those_of_a_directorys_whole_life(tmp_path: Path) -> None:
    FilesSeat(tmp_path).adapter().prepare(ENVIRONMENT, SYSTEM, TABLES)
    with pytest.raises(ConfigError, match="written with delimiter = ';'"):
        FilesSeat(tmp_path, options={"delimiter": ","}).adapter().prepare(ENVIRONMENT, SYSTEM, TABLES)


@pytest.mark.parametrize("url", ["files://host/path", "/srv/billing", "files:///"])
def test_another_kind_of_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="no URL of the adapter files"):
        FilesAdapter(MemberSettings(adapter="files", url=url), tmp_path)


def test_an_absolute_directory(tmp_path: Path) -> None:
    adapter = FilesAdapter(MemberSettings(adapter="files", url=f"files:///{tmp_path}/here"), Path("/nowhere"))
    adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    assert (tmp_path / "here" / "current" / "list_prices.csv").exists()


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="missing does not exist"):
        FilesSeat(tmp_path / "missing").adapter().prepare(ENVIRONMENT, SYSTEM, TABLES)


ROWS: list[Row] = [("10", "1"), ("9", None), ("", "2"), ('a "b"; c', "3"), (" x", "4"), ("two\nlines", "5")]


def test_null_is_nothing_and_the_empty_string_two_quotes(seat: FilesSeat, adapter: FilesAdapter) -> None:
    load(adapter, "b", 1, batch(PRICE_TABLE, ROWS))
    flip(adapter)
    assert current(seat, "list_prices.csv").decode() == (
        'sku;release\n"";2\n" x";4\n10;1\n9;\n"a ""b""; c";3\n"two\nlines";5\n'
    )
    assert current(seat, "distributor_release.csv").decode() == (
        "environment;system;release;flipped_at\nprod;crm;1;2026-03-01 12:00:00.123456+00\n"
    )


def test_the_form_of_a_legacy_system(tmp_path: Path) -> None:
    seat = FilesSeat(tmp_path, LEGACY, {**LEGACY_OPTIONS, "header": False})
    adapter = seat.adapter()
    adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    load(adapter, "b", 1, batch(PRICE_TABLE, [("Öl", None), ("", "7")]))
    flip(adapter)
    assert current(seat, "list_prices.csv") == '"","7"\r\n"Öl",\r\n'.encode("cp1252")
    assert current(seat, "distributor_release.csv").startswith(b'"prod","crm","1",')
    assert adapter.inspect([(table.mapping, table.schema) for table in TABLES]) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-15", "cp500", "shift_jis", "gb18030"])
def test_any_character_set_gives_back_what_it_can_hold(tmp_path: Path, encoding: str) -> None:
    seat = FilesSeat(tmp_path, options={"encoding": encoding})
    adapter = seat.adapter()
    adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    texts = ["", "plain", "é", "€", "\ufeffmark", "ひらがな", "\U0001f9ff", "Å\\~", "a;b", 'q"', "\r\n"]
    rows: list[Row] = [(text, str(number)) for number, text in enumerate(texts)]
    bad = {unfit.key for unfit in adapter.unfit(batch(PRICE_TABLE, rows))}
    held = [row for row in rows if row[:1] not in bad]
    (touched,) = load(adapter, "b", 1, batch(PRICE_TABLE, held))
    assert touched.after == certificate_of(PRICE_TABLE, held) == adapter.audit("b", PRICE_TABLE)
    assert slot_file(seat.root, "b", "list_prices").read_bytes().decode(encoding).startswith("sku;release\n")


def test_what_an_encoding_lacks_is_named_once_per_row(tmp_path: Path) -> None:
    adapter = FilesSeat(tmp_path, options={"encoding": "cp1252"}).adapter()
    rows: list[Row] = [("A", "1"), ("Ω", "2"), ("€", "3")]
    (found,) = adapter.unfit(batch(PRICE_TABLE, rows))
    assert str(found) == "list_prices Ω: sku = 'Ω' has a character that cp1252 lacks"
    assert adapter.unfit(batch(PRICE_TABLE, (), rows)) == []


def test_integers_stand_in_the_order_of_numbers(seat: FilesSeat) -> None:
    adapter = seat.adapter()
    adapter.prepare(ENVIRONMENT, SYSTEM, (SAMPLE_TABLE,))
    rest = (None,) * (len(SAMPLE_TABLE.schema.columns) - 2)
    load(adapter, "b", 1, batch(SAMPLE_TABLE, [("x", number, *rest) for number in ("10", "9", "-3", "100")]))
    lines = slot_file(seat.root, "b", "all types").read_text().splitlines()[1:]
    assert [line.split(";")[1] for line in lines] == ["-3", "9", "10", "100"]


# What readers see


def test_an_open_directory_is_one_release_until_the_second_flip_after(seat: FilesSeat, adapter: FilesAdapter) -> None:
    def told(directory: int) -> str:
        with os.fdopen(os.open("distributor_release.csv", os.O_RDONLY, dir_fd=directory)) as file:
            return file.read().splitlines()[1].split(";")[2]

    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(5, 1)))
    flip(adapter)
    opened = os.open(seat.root / "current", os.O_RDONLY | os.O_DIRECTORY)
    load(adapter, "a", 2, batch(PRICE_TABLE, numbered_rows(5, 2)))
    flip(adapter)
    load(adapter, "b", 3, batch(PRICE_TABLE, numbered_rows(5, 3)))
    assert told(opened) == "1"
    with os.fdopen(os.open("list_prices.csv", os.O_RDONLY, dir_fd=opened)) as file:
        assert file.read().splitlines()[1:] == [f"{sku};1" for sku, _ in numbered_rows(5, 1)]
    flip(adapter)
    with pytest.raises(FileNotFoundError):
        told(opened)
    os.close(opened)


IMPORT = """
cd -P "$1/current" || exit 1
head -n 1 distributor_release.csv
read -r go
tail -n +2 distributor_release.csv | cut -d ';' -f 3
tail -n +2 list_prices.csv | cut -d ';' -f 2 | sort -u
"""


def test_a_script_that_goes_into_the_directory_once_reads_one_release(seat: FilesSeat, adapter: FilesAdapter) -> None:
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(5, 1)))
    flip(adapter)
    with subprocess.Popen(
        ["sh", "-c", IMPORT, "sh", seat.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as script:
        assert script.stdin
        assert script.stdout
        assert script.stdout.readline().startswith(b"environment;")
        load(adapter, "a", 2, batch(PRICE_TABLE, numbered_rows(5, 2)))
        flip(adapter)
        script.stdin.write(b"\n")
        script.stdin.flush()
        assert script.stdout.read() == b"1\n1\n"


# Deltas


def test_there_is_no_delta_before_the_first_load(seat: FilesSeat, adapter: FilesAdapter) -> None:
    assert not (seat.root / "current" / "delta").exists()


def test_after_a_rollback_the_delta_is_that_of_another_release(seat: FilesSeat, adapter: FilesAdapter) -> None:
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(2, 1)))
    flip(adapter)
    load(adapter, "a", 2, batch(PRICE_TABLE, numbered_rows(2, 2)))
    flip(adapter)
    assert (about(seat)["release"], about(seat)["since"]["release"]) == (2, 1)
    flip(adapter)
    assert (about(seat)["release"], about(seat)["since"]["release"]) == (1, 0)


def test_a_content_is_known_by_its_certificate(seat: FilesSeat, adapter: FilesAdapter) -> None:
    """One number may stand for two contents: rows were held back, and then were not."""
    contents: list[str] = []
    for slot, rows in (("b", numbered_rows(2, 1)), ("a", numbered_rows(3, 1)), ("b", numbered_rows(2, 1))):
        certificate = Certificate(tables={"list_prices": certificate_of(PRICE_TABLE, rows)})
        with adapter.loading(slot) as loading:  # type: ignore[arg-type]
            loading.clear(PRICE_TABLE)
            loading.apply(batch(PRICE_TABLE, rows))

            def guard(row: MemberRow, slot: Any = slot, text: str = certificate.model_dump_json()) -> MemberRow:
                held = Slot(identity=SlotIdentity(release=1, mapping="m", schema_="s"), certificate=text)
                return row.model_copy(update={"slots": {**row.slots, slot: held}})

            loading.commit(guard)
        flip(adapter)
        found = about(seat)
        assert (found["release"], found["content"]) == (1, certificate.digest)
        assert found["since"]["content"] == (contents[-1] if contents else None)
        contents.append(found["content"])
    assert contents[0] == contents[2] != contents[1]


def test_a_delta_leads_from_what_was_shown_before(seat: FilesSeat, adapter: FilesAdapter) -> None:
    """Not from what the slot held before, which is one release older."""
    load(adapter, "b", 1, batch(PRICE_TABLE, [("A", "1"), ("B", "1"), ("C", "1"), ("E", "1")]))
    flip(adapter)
    load(adapter, "a", 2, batch(PRICE_TABLE, [("A", "1"), ("B", "2"), ("C", "1"), ("D", "1"), ("E", "2")]))
    flip(adapter)
    assert about(seat)["since"]["release"] == 1
    load(adapter, "b", 3, batch(PRICE_TABLE, [("D", "1"), ("F", "3"), ("G", "")], [("C", "1")]))
    flip(adapter)
    assert about(seat) == {
        "release": 3,
        "content": None,
        "since": {"release": 2, "content": None},
        "tables": {
            "list_prices": {"I": 2, "U": 2, "D": 1},
            "keys": {"I": 0, "U": 0, "D": 0},
        },
    }
    assert current(seat, "delta/list_prices.csv").decode() == ('op;sku;release\nU;B;1\nD;C;1\nU;E;1\nI;F;3\nI;G;""\n')
    assert current(seat, "delta/keys.csv") == b"op;id\n"


def test_a_table_that_is_not_loaded_has_its_delta_too(seat: FilesSeat, adapter: FilesAdapter) -> None:
    """The slot is behind by what only the other one got."""
    keys: list[Row] = [("00000000-0000-0000-0000-000000000001",)]
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(2, 1)))
    flip(adapter)
    load(adapter, "a", 2, batch(PRICE_TABLE, numbered_rows(2, 1)), batch(KEY_TABLE, keys))
    flip(adapter)
    load(adapter, "b", 3, batch(PRICE_TABLE, numbered_rows(3, 1)))
    flip(adapter)
    assert current(seat, "delta/keys.csv").decode() == f"op;id\nD;{keys[0][0]}\n"


def test_a_table_that_is_loaded_anew_has_no_delta_and_says_so(seat: FilesSeat, adapter: FilesAdapter) -> None:
    with adapter.loading("b") as loading:
        loading.clear(PRICE_TABLE)
        loading.apply(batch(PRICE_TABLE, numbered_rows(2, 1)))
        loading.commit(lambda row: holding(row, "b", 1))
    flip(adapter)
    assert about(seat)["tables"]["list_prices"] == {"why": "it was loaded anew, from nothing"}
    assert not (seat.root / "current/delta/list_prices.csv").exists()
    assert (seat.root / "current/delta/keys.csv").exists()


def test_a_table_of_another_shape_has_no_delta_and_says_so(seat: FilesSeat, adapter: FilesAdapter) -> None:
    adapter.prepare(ENVIRONMENT, SYSTEM, (WIDER, KEY_TABLE))
    with adapter.loading("b") as loading:
        loading.clear(WIDER)
        loading.apply(batch(WIDER, shaped_rows(WIDER, 3, 1)))
        loading.commit(lambda row: holding(row, "b", 1))
    load(adapter, "b", 2, batch(WIDER, shaped_rows(WIDER, 4, 2)))
    flip(adapter)
    assert about(seat)["tables"]["list_prices"] == {"why": "it had another shape before"}


def test_a_shown_file_that_was_altered_leads_to_no_delta_and_stops_no_load(
    seat: FilesSeat, adapter: FilesAdapter
) -> None:
    shown = slot_file(seat.root, "a", "list_prices")
    for content, why in (
        ("sku;release\nB;1\nA;1\n", "a file was altered: its records are not in the order of their keys"),
        ("sku\nB\n", "what was shown before cannot be read"),
    ):
        shown.write_text(content)
        rows = numbered_rows(3, 1)
        load(adapter, "b", 1, batch(PRICE_TABLE, rows))
        delta = slot_file(seat.root, "b", "list_prices").parent / "delta"
        assert json.loads((delta / "delta.json").read_text())["tables"]["list_prices"]["why"].startswith(why)
        assert not (delta / "list_prices.csv").exists()
        assert adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, rows)


# Proof and locks


def test_a_file_that_is_read_back_otherwise_is_not_committed(
    seat: FilesSeat, adapter: FilesAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(5, 1)))

    def losing(form: Form, path: Path, names: Any, records: Any) -> None:
        write(form, path, names, list(records)[:-1])

    monkeypatch.setattr(files_load, "write", losing)
    with pytest.raises(SystemAlteredError, match="read back is not what was written"):
        load(adapter, "b", 2, batch(PRICE_TABLE, numbered_rows(6, 2)))
    assert adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, numbered_rows(5, 1))


def test_a_load_that_has_built_upon_what_is_gone_does_not_commit(seat: FilesSeat, adapter: FilesAdapter) -> None:
    with adapter.loading("b") as loading:
        loading.apply(batch(PRICE_TABLE, numbered_rows(2, 1)))
        load(seat.adapter(), "b", 7, batch(PRICE_TABLE, numbered_rows(9, 7)))
        with pytest.raises(UnreachableError, match="changed while this load ran"):
            loading.commit(lambda row: holding(row, "b", 1))
    assert adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, numbered_rows(9, 7))


def test_the_member_transaction_of_another_process_is_waited_for(seat: FilesSeat, adapter: FilesAdapter) -> None:
    """It raises the floor; whoever came meanwhile waits, is told for whom, and reads the row as it is then."""
    code = (
        "import sys; from pathlib import Path; from tests.adapters.files_deaths import made\n"
        "with made(Path(sys.argv[1])).member() as member:\n"
        "    print('in', flush=True); sys.stdin.readline()\n"
        "    member.save(member.row.model_copy(update={'floor': 7}))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, seat.directory], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == b"in\n"
        lock = seat.root / "_distributor" / "lock"
        assert adapter.waits_for() == Obstacle(f"the lock {lock}, which process {other.pid} has", f"lsof {lock}")
        other.stdin.write(b"\n")
        other.stdin.flush()
        with adapter.member() as member:
            assert member.row.floor == 7
            assert adapter.waits_for() == Obstacle()
        assert other.wait() == 0
    assert adapter.waits_for() == Obstacle()


def test_a_load_that_runs_is_not_taken_for_one_that_died(seat: FilesSeat, adapter: FilesAdapter) -> None:
    with adapter.loading("b") as loading:
        loading.apply(batch(PRICE_TABLE, numbered_rows(2, 1)))
        load(seat.adapter(), "a", 2, batch(PRICE_TABLE, numbered_rows(3, 2)))
        loading.apply(batch(PRICE_TABLE, numbered_rows(4, 1)))
        assert loading.audit(PRICE_TABLE) == certificate_of(PRICE_TABLE, numbered_rows(4, 1))
    assert list((seat.root / "_distributor").glob("load-*")) == []


def test_memory_does_not_grow_with_a_table(adapter: FilesAdapter) -> None:
    def peak(slot: Any, pieces: int) -> int:
        tracemalloc.start()
        parts = (batch(PRICE_TABLE, numbered_rows(500, 1, start=500 * piece)) for piece in range(pieces))
        with adapter.loading(slot) as loading:
            for part in parts:
                loading.apply(part)
            loading.commit(lambda row: holding(row, slot, 1))
        adapter.audit(slot, PRICE_TABLE)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak("a", 1)
    assert peak("b", 30) < 1.5 * peak("a", 3)


# What somebody altered


def inspected(adapter: FilesAdapter) -> list[str]:
    return adapter.inspect([(table.mapping, table.schema) for table in TABLES])


@pytest.fixture
def online(seat: FilesSeat, adapter: FilesAdapter) -> FilesAdapter:
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(5, 1)))
    flip(adapter)
    return adapter


def test_nothing_is_altered(online: FilesAdapter) -> None:
    assert inspected(online) == []


def test_readers_that_were_led_elsewhere_are_led_back(seat: FilesSeat, online: FilesAdapter) -> None:
    link = seat.root / "current"
    link.unlink()
    link.symlink_to("_distributor/shown/1")
    (said,) = inspected(online)
    assert said.startswith(f"readers are led to {seat.root}/_distributor/shown/1, and not to release 1.")
    with online.member() as member:
        assert member.row.active == "b"
    online.prepare(ENVIRONMENT, SYSTEM, TABLES)
    assert inspected(online) == []
    assert seat.reader().look(PRICE_TABLE) == Sight(1, frozenset(numbered_rows(5, 1)))


@pytest.mark.parametrize("lost", ["current", "_distributor/shown"])
def test_a_link_or_what_it_leads_to_comes_back(seat: FilesSeat, online: FilesAdapter, lost: str) -> None:
    (seat.root / lost).rename(seat.directory / "away")
    assert inspected(online)
    online.prepare(ENVIRONMENT, SYSTEM, TABLES)
    assert inspected(online) == []
    assert seat.reader().look(PRICE_TABLE) == Sight(1, frozenset(numbered_rows(5, 1)))


def test_a_release_that_was_altered_is_told_again(seat: FilesSeat, online: FilesAdapter) -> None:
    told = seat.root / "current" / "distributor_release.csv"
    right = told.read_text()
    told.write_text(right.replace(";1;", ";4;"))
    (said,) = inspected(online)
    assert said.startswith("distributor_release.csv does not tell readers of release 1.")
    online.prepare(ENVIRONMENT, SYSTEM, TABLES)
    assert told.read_text() == right


def test_a_file_that_an_editor_put_in_the_place_of_ours_is_named(seat: FilesSeat, online: FilesAdapter) -> None:
    seen = seat.root / "current" / "list_prices.csv"
    seen.rename(seat.directory / "saved")
    seen.write_bytes((seat.directory / "saved").read_bytes())
    (said,) = inspected(online)
    assert "list_prices.csv: this is already there, and was not put there by the consumer" in said
    with pytest.raises(SystemAlteredError, match="It was not touched"):
        online.prepare(ENVIRONMENT, SYSTEM, TABLES)


def test_an_edit_in_place_is_an_edit_of_the_slot(seat: FilesSeat, online: FilesAdapter) -> None:
    with (seat.root / "current" / "list_prices.csv").open("a") as file:
        file.write("X;1\n")
    assert inspected(online) == []
    assert online.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, [*numbered_rows(5, 1), ("X", "1")])


def test_without_a_header_a_column_that_is_missing_is_named(tmp_path: Path) -> None:
    seat = FilesSeat(tmp_path, Written(header=False), {"header": False})
    adapter = seat.adapter()
    adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
    load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(5, 1)))
    seat.drop_column(PRICE_TABLE, "release")
    with pytest.raises(SystemAlteredError, match="has about 1 columns, not 2"):
        adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)


def test_a_quote_without_an_end_does_not_take_all_memory(
    seat: FilesSeat, online: FilesAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_form, "_LONGEST_RECORD", 20)
    slot_file(seat.root, "b", "list_prices").write_text('sku;release\n"A;1\n' + "B;1\n" * 10)
    with pytest.raises(SystemAlteredError, match="has no end"):
        online.audit("b", PRICE_TABLE)


def test_a_damaged_file_is_loaded_anew_without_being_read(seat: FilesSeat, online: FilesAdapter) -> None:
    rows = numbered_rows(3, 2)
    slot_file(seat.root, "a", "list_prices").write_bytes(b'sku;release\n"A;1\n\xff')
    assert online.audit("a", PRICE_TABLE) != certificate_of(PRICE_TABLE, [])
    with online.loading("a") as loading:
        loading.clear(PRICE_TABLE)
        loading.apply(batch(PRICE_TABLE, rows))
        loading.commit(lambda row: holding(row, "a", 2))
    assert online.audit("a", PRICE_TABLE) == certificate_of(PRICE_TABLE, rows)


def test_a_row_that_is_gone_is_not_made_anew(seat: FilesSeat, online: FilesAdapter) -> None:
    """It would have forgotten which commands are over."""
    (seat.root / "_distributor" / "member.json").unlink()
    with pytest.raises(SystemAlteredError, match="with it the member's row"):
        online.prepare(ENVIRONMENT, SYSTEM, TABLES)


def test_names_that_are_no_files_are_refused(seat: FilesSeat) -> None:
    for into, said in (("a/b", "no name of a file"), ("LIST_PRICES", "one to some file systems")):
        table = type(PRICE_TABLE)(PRICE_TABLE.mapping.model_copy(update={"into": into}), PRICE_TABLE.schema)
        with pytest.raises(ConfigError, match=said):
            seat.adapter().prepare(ENVIRONMENT, SYSTEM, (PRICE_TABLE, table))
