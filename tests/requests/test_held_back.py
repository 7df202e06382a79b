"""What an environment takes where rows do not fit: by itself, beside what waits, and through references."""

from __future__ import annotations

import pytest

from distributor.errors import RefusedError
from distributor.ledger import quarantine
from distributor.ledger.engine import transaction
from distributor.model.unfit import Unfit
from distributor.requests.contents import hold_back
from distributor.requests.interventions import detach
from distributor.requests.plans import foreseen, planned
from distributor.rollout.state import Cause, RolloutState
from tests.requests import catalogue as fixtures
from tests.requests.estate import Desk

pytestmark = pytest.mark.services
catalogue = fixtures.catalogue


def product(desk: Desk, sku: str) -> tuple[str | None, ...] | None:
    return desk.shown["products"].get((sku,))


def price(desk: Desk, id_: str, dataset: str = "prices.joined") -> tuple[str | None, ...] | None:
    return desk.shown[dataset].get((id_,))


def refused_by_crm(desk: Desk, release: int, dataset: str, *keys: str) -> None:
    """What crm says that it cannot take."""
    rows = [Unfit(table=dataset, dataset=dataset, key=(key,), column="name", value="x", why="is odd") for key in keys]
    with transaction(desk.engine) as conn:
        hold_back(conn, "uat", "crm", release, rows)


def test_unfit_rows_of_the_very_first_release_and_what_references_them(catalogue: Desk) -> None:
    catalogue.release(
        "UPDATE products SET place = 'x', parent = 'P1' WHERE sku = 'P7'",
        "UPDATE products SET parent = 'P7' WHERE sku = 'P8'",
        "UPDATE products SET parent = 'P9', place = 'itself' WHERE sku = 'P9'",
        "UPDATE products SET parent = 'nobody' WHERE sku = 'P10'",
        # One of a circle is enough.
        "UPDATE products SET parent = 'P12', place = 'y' WHERE sku = 'P11'",
        "UPDATE products SET parent = 'P11' WHERE sku = 'P12'",
    )
    shown = catalogue.take()
    assert sorted(shown["products"]) == sorted((f"P{n}",) for n in (1, 2, 3, 4, 5, 6, 10))
    assert (
        sorted(shown["prices"]) == sorted(shown["prices.joined"]) == sorted((f"X{n}",) for n in (1, 2, 3, 4, 5, 6, 10))
    )
    catalogue.release("UPDATE products SET place = '1' WHERE sku IN ('P7', 'P9', 'P11')")
    assert len(catalogue.take()["products"]) == 12
    assert catalogue.held == []


def test_what_does_not_fit_through_a_reference_holds_back_the_row_that_it_is_of(catalogue: Desk) -> None:
    catalogue.release()
    before = catalogue.take()
    catalogue.release(
        "UPDATE products SET name = 'much too long' WHERE sku = 'P7'",
        "UPDATE products SET name = 'ok' WHERE sku = 'P8'",
    )
    catalogue.take()
    # Nobody shows a price beside another name than its product has.
    assert (product(catalogue, "P7"), price(catalogue, "X7")) == (
        before["products"]["P7",],
        before["prices.joined"]["X7",],
    )
    assert price(catalogue, "X8") == ("X8", "P8", "8", "ok")
    assert catalogue.held == [("prices", ("X7",))]
    catalogue.release("UPDATE products SET name = 'short' WHERE sku = 'P7'")
    catalogue.take()
    assert price(catalogue, "X7") == ("X7", "P7", "7", "short")
    assert catalogue.held == []


def test_what_a_store_cannot_hold_through_a_reference(catalogue: Desk) -> None:
    catalogue.release()
    before = catalogue.take()
    catalogue.release(
        "UPDATE products SET name = 'odd' WHERE sku = 'P7'", "UPDATE prices SET price = 8 WHERE id = 'X8'"
    )
    row = Unfit(table="prices", dataset="prices", key=("X7",), column="title", value="odd", why="is odd")
    with transaction(catalogue.engine) as conn:
        hold_back(conn, "uat", "pos", 2, [row])
    catalogue.take()
    assert (product(catalogue, "P7"), price(catalogue, "X7")) == (
        before["products"][("P7",)],
        before["prices.joined"][("X7",)],
    )
    # Its price changes, and so it is tried again, as any row is.
    catalogue.release(
        "UPDATE prices SET price = 70 WHERE id = 'X7'", "UPDATE products SET name = 'on' WHERE sku = 'P6'"
    )
    catalogue.take()
    assert price(catalogue, "X6") == ("X6", "P6", "6", "on")
    assert price(catalogue, "X7") == ("X7", "P7", "70", "odd")


def test_a_row_that_is_held_back_reads_what_others_are_now(catalogue: Desk) -> None:
    catalogue.release()
    catalogue.take()
    catalogue.release(
        "UPDATE products SET name = 'fine' WHERE sku IN ('P6', 'P7')",
        "UPDATE prices SET price = 77 WHERE id = 'X7'",
        "UPDATE prices SET product = 'P1' WHERE id = 'X6'",
        "UPDATE prices SET product = 'P1' WHERE id = 'X5'",
        "DELETE FROM products WHERE sku = 'P5'",
    )
    refused_by_crm(catalogue, 2, "prices", "X5", "X6", "X7")
    catalogue.take()
    assert price(catalogue, "X7") == ("X7", "P7", "7", "fine")
    assert price(catalogue, "X6") == ("X6", "P6", "6", "fine")
    assert price(catalogue, "X5") == ("X5", "P5", "5", None)


def test_what_waits_is_held_back_as_the_release_before_it_shows(catalogue: Desk) -> None:
    catalogue.release()
    catalogue.take()
    catalogue.release("UPDATE products SET name = 'second' WHERE sku = 'P7'")
    catalogue.ask()
    catalogue.begin()
    catalogue.release("UPDATE products SET name = 'third', place = 'x' WHERE sku = 'P7'")
    catalogue.ask(cause=Cause.REFRESH)
    catalogue.release("UPDATE products SET name = 'fourth' WHERE sku = 'P1'")
    catalogue.ask(cause=Cause.REFRESH)
    for release in (2, 3, 4):
        catalogue.go_online()
        assert (catalogue.state.shown, product(catalogue, "P7")) == (release, ("P7", "second", "7", None))


def test_two_requests_that_wait_for_one_release_mean_the_same(catalogue: Desk) -> None:
    catalogue.release()
    catalogue.take()
    catalogue.release("UPDATE products SET name = 'second' WHERE sku = 'P8'")
    catalogue.ask()
    catalogue.begin()
    catalogue.release("UPDATE products SET name = 'third' WHERE sku = 'P7'")
    refused_by_crm(catalogue, 3, "products", "P7")
    one = catalogue.ask(cause=Cause.REFRESH)
    with transaction(catalogue.engine) as conn:
        quarantine.let_go(conn, "uat", "products", [("P7",)])
    assert catalogue.ask(cause=Cause.REFRESH).expected == one.expected
    # A deploy takes the place of all that waits, and tries the row again.
    assert catalogue.ask().expected != one.expected
    assert catalogue.rollout(one.id).state is RolloutState.SUPERSEDED


def test_a_row_that_did_not_fit_again_after_it_changed_is_held_back_since_then(catalogue: Desk) -> None:
    catalogue.release()
    catalogue.take()
    for release, name in ((2, "second"), (3, "third")):
        catalogue.release(f"UPDATE products SET name = '{name}' WHERE sku = 'P7'")
        refused_by_crm(catalogue, release, "products", "P7")
    # A report of the former release comes late.
    refused_by_crm(catalogue, 2, "products", "P7")
    catalogue.take()
    assert product(catalogue, "P7") == ("P7", "n7", "7", None)


def test_a_system_that_was_given_up_holds_nothing_back(catalogue: Desk) -> None:
    catalogue.release()
    catalogue.take()
    detach(catalogue.engine, catalogue.settings, "uat", member="pos", by="ann", reason="gone")
    catalogue.release(
        "UPDATE products SET place = 'x' WHERE sku = 'P8'", "UPDATE products SET place = 'y' WHERE sku = 'P9'"
    )
    plan = planned(catalogue.engine, catalogue.settings, catalogue.store, "uat", release=None)
    assert (plan.held_back, plan.wanted and plan.wanted.sha256) == ((), catalogue.manifest_of(2))
    asked = catalogue.ask()
    assert (catalogue.held, sorted(asked.expected)) == ([], ["crm"])
    catalogue.release("UPDATE products SET place = '1' WHERE sku IN ('P8', 'P9')")
    # Where it could take the release it is brought level as soon as it is back.
    assert sorted(catalogue.ask().expected) == ["crm", "pos"]


def test_plan_and_dry_run_and_deploy_hold_back_the_same(catalogue: Desk) -> None:
    catalogue.release()
    catalogue.take()
    catalogue.release(
        "UPDATE products SET name = 'much too long' WHERE sku = 'P7'",
        "UPDATE products SET place = 'x', parent = 'P7' WHERE sku = 'P8'",
    )
    plan = planned(catalogue.engine, catalogue.settings, catalogue.store, "uat", release=None)
    dry = foreseen(catalogue.engine, catalogue.settings, catalogue.store, "uat", 2)
    assert catalogue.held == []
    catalogue.take()
    keys = [(row.dataset, row.key) for row in plan.held_back]
    assert (
        keys
        == [(row.dataset, row.key) for row in dry]
        == catalogue.held
        == [("prices", ("X7",)), ("products", ("P8",))]
    )
    assert plan.wanted
    assert plan.wanted.sha256 == catalogue.manifest_of(2)


@pytest.mark.parametrize("unfit", [2, 3])
def test_the_budget_met_exactly_and_exceeded_by_one(catalogue: Desk, unfit: int) -> None:
    settings = catalogue.settings
    budget = settings.quarantine.model_copy(update={"max_rows": 2})
    catalogue.settings = settings.model_copy(update={"quarantine": budget})
    catalogue.release()
    catalogue.take()
    catalogue.release(f"UPDATE products SET place = 'x' WHERE substr(sku, 2)::int <= {unfit}")
    if unfit == 2:
        catalogue.take()
        assert len(catalogue.held) == 2
    else:
        with pytest.raises(RefusedError, match="3 rows of products would be held back from uat; of 12 rows 2 may"):
            catalogue.ask()
        assert catalogue.held == []
