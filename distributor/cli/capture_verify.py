"""`capture verify`: whether the triggers have missed anything, by comparing every row."""

from __future__ import annotations

from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.layout import grid
from distributor.cli.outcome import Outcome
from distributor.views.base import View
from distributor.views.wording import count, plain

DIFFERENT = 10
_TOLD = {
    "complete": "nothing was missed",
    "missed": "changes were missed",
    "unproven": "the next publish reads it whole anyway",
    "scan": "it has no triggers, by its config",
}


class ProvenDataset(View):
    """One dataset's triggers."""

    dataset: str
    """The dataset."""
    verdict: str
    """`complete`; `missed`; `unproven`: the next publish reads it whole whatever was recorded, so nothing can be \
missed; `scan`: it has no triggers, by its config."""
    rows_missed: int
    """Rows that differ from the newest release though no trigger has recorded their keys."""
    keys: tuple[dict[str, str | None], ...]
    """Their keys (column → canonical text), at most 20."""


class CaptureVerified(Outcome):
    """Whether the triggers see every change."""

    datasets: tuple[ProvenDataset, ...]
    """Every dataset of the config."""

    @property
    def exit_code(self) -> int:
        """10 when something was missed."""
        return DIFFERENT if any(found.rows_missed for found in self.datasets) else 0

    def show(self, console: Console) -> None:
        """A table of datasets, then the keys that were missed."""
        table = grid("dataset", "", ">rows missed")
        for found in self.datasets:
            table.add_row(found.dataset, _TOLD[found.verdict], f"{found.rows_missed:,}")
        console.print(table)
        for found in self.datasets:
            for key in found.keys:
                told = ", ".join(f"{name}={plain(value or '')}" for name, value in key.items())
                console.print(f"! {found.dataset} {told}")
            if rest := found.rows_missed - len(found.keys):
                console.print(f"! {found.dataset}: {count(rest, 'more row')}")
        if self.exit_code:
            console.print("`distributor capture verify` publishes nothing; set `scan_every` to have it mended.")


def verify(desk: Desk) -> CaptureVerified:
    """Compare the whole master with the newest release, and say what the triggers have missed.

    Nothing is published and nothing changes. A publisher does the same for datasets with `scan_every`, and publishes
    what was missed.
    """
    from distributor.publishing.publish import Publisher

    datasets = desk.settings.master.datasets
    watched = [name for name, found in datasets.items() if found.capture == "trigger"]
    with Publisher(desk.settings, desk.store) as publisher:
        result = publisher.publish(dry_run=True, scans=watched)
    found = []
    for name, dataset in datasets.items():
        missed = result.missed.get(name)
        verdict = "unproven" if name not in result.missed else "missed" if missed else "complete"
        found.append(
            ProvenDataset(
                dataset=name,
                verdict="scan" if dataset.capture == "scan" else verdict,
                rows_missed=missed.rows if missed else 0,
                keys=tuple(dict(zip(missed.columns, key, strict=True)) for key in missed.keys) if missed else (),
            )
        )
    return CaptureVerified(datasets=tuple(found))
