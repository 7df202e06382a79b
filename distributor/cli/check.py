"""`check`: reaches every part of the estate and says what is missing."""

from __future__ import annotations

from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.finding import Finding, Findings
from distributor.cli.layout import grid
from distributor.cli.outcome import Outcome
from distributor.views.wording import count

FAILED = 1


class Checked(Outcome):
    """What `check` found."""

    ok: bool
    """Whether there is no problem."""
    findings: tuple[Finding, ...]
    """One for each part, in the order of a change's journey."""

    @property
    def exit_code(self) -> int:
        """1 when there is a problem."""
        return 0 if self.ok else FAILED

    def show(self, console: Console) -> None:
        """A table, problems with how to mend them."""
        table = grid("part", "", "found")
        for finding in self.findings:
            table.add_row(finding.part, finding.verdict, finding.found)
        console.print(table)
        for finding in self.findings:
            if finding.mend:
                console.print(f"{finding.part}: {finding.mend}")
        problems = sum(finding.verdict == "problem" for finding in self.findings)
        console.print(f"{count(problems, 'problem')} found" if problems else "all parts will do")


def check(desk: Desk) -> Checked:
    """Reach every part of the estate, and say what is missing and how to get it.

    The config, the master and each of its datasets, the ledger, the broker, the store, and each system. Nothing is
    changed but that the broker gets its queues, which every role would declare.
    """
    from distributor.cli import masking_checks, member_checks, server_checks

    settings = desk.settings
    findings = Findings()
    members = sum(len(environment.systems) for environment in settings.environments.values())
    datasets = count(len(settings.master.datasets), "dataset")
    findings.ok("config", f"{datasets}, {count(len(settings.environments), 'environment')}, {count(members, 'member')}")
    if not members:
        findings.note("config", "no environment has a system", "Add [environments.NAME.systems.SYSTEM].")
    shapes = server_checks.distributed_shapes(settings)
    coming = {**shapes, **server_checks.check_master(settings, shapes, findings)}
    server_checks.check_ledger(settings, findings)
    server_checks.check_broker(settings, findings)
    server_checks.check_store(settings, findings)
    masking_checks.check_masking(settings, coming, findings)
    for environment in settings.environments:
        if settings.environment(environment).audit == "never":
            findings.note(
                environment,
                'slots are audited only when somebody asks (`audit = "never"`)',
                f"Run `distributor verify {environment}` from time to time: nothing else finds hand edits.",
            )
        for system in settings.environment(environment).systems:
            with findings.about(f"{environment}.{system}"):
                member_checks.check_member(settings, environment, system, shapes, coming, findings)
    problems = any(finding.verdict == "problem" for finding in findings.all)
    return Checked(ok=not problems, findings=tuple(findings.all))
