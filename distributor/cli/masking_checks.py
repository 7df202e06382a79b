"""What `check` asks of masking: what each environment does not see, what it does see though others do not, and whether
its policy can be had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from distributor.cli.finding import Findings
from distributor.errors import DistributorError
from distributor.masking.compiled import problems
from distributor.masking.keyed import WORD
from distributor.masking.policy import Method, Policy
from distributor.settings import Settings
from distributor.store.editions import opened

if TYPE_CHECKING:
    from distributor.model.dataset import DatasetSchema

_POLICIES = "docs/masking.md has what can be masked, and how."


def check_masking(settings: Settings, coming: Mapping[str, DatasetSchema], findings: Findings) -> None:
    """`coming` are the shapes that the next release would have."""
    for policy in settings.policies_in_use:
        part = f"masking.{policy.name}"
        for why in problems(policy, coming, settings.references):
            findings.problem(part, why, _POLICIES)
        for why in _too_narrow(settings, policy):
            findings.problem(part, why, "Give it more letters, or take another method.")
    for environment, found in settings.environments.items():
        if found.masking:
            with findings.about(environment):
                _check_environment(settings, environment, findings)
        elif settings.masking:
            findings.note(environment, "it sees every column in clear")


def _check_environment(settings: Settings, environment: str, findings: Findings) -> None:
    policy = settings.masking_of(environment)
    assert policy is not None
    store, version = opened(settings, environment)
    told = [
        f"{dataset}.{column} ({method.value})"
        for dataset, masked in sorted(policy.columns.items())
        for column, method in sorted(masked.items())
    ]
    findings.ok(environment, f"masked under {policy.name}: {', '.join(told)}")
    clear = [
        f"{dataset}.{column} (masked under {other})"
        for dataset, column, other in _masked_elsewhere(settings)
        if column not in policy.columns.get(dataset, {})
    ]
    if clear:
        mend = f"Name them in [masking.{policy.name}.columns], if it must not see them either."
        findings.note(environment, f"in clear here: {', '.join(sorted(clear))}", mend)
    there = "" if store.path.is_dir() else ", which is made with its first edition"
    findings.ok(environment, f"edition {version[:12]}: its consumers need {store.path}{there}, and no other directory")


def _masked_elsewhere(settings: Settings) -> Iterator[tuple[str, str, str]]:
    for name, policy in settings.masking.items():
        for dataset, masked in policy.columns.items():
            for column in masked:
                yield dataset, column, name


def _too_narrow(settings: Settings, policy: Policy) -> Iterator[str]:
    """Tables that promise shorter texts than tokens are: their rows would be held back, one and all."""
    tokens = {
        (dataset, column)
        for dataset, masked in policy.columns.items()
        for column, method in masked.items()
        if method is Method.TOKEN
    }
    for environment in settings.environments.values():
        for system in environment.systems if environment.masking == policy.name else ():
            for table in settings.mapping(system).tables:
                lengths = {entry.name: entry.type.length for entry in table.columns if entry.type}
                try:
                    plain = table.plainly_read()
                except DistributorError:
                    # The member's own check says what is wrong with it.
                    continue
                for column, name in plain.items():
                    length = lengths.get(name)
                    if (table.dataset, column) in tokens and length is not None and length < WORD:
                        yield (
                            f"{table.dataset}.{column}: its tokens have {WORD} letters, and {system} has it as"
                            f" text({length}) in {table.into}.{name}"
                        )
