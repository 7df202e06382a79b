"""A policy for the shapes of datasets: which column gets which mask, and why some cannot be had."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from distributor.errors import ConfigError
from distributor.masking.columns import remembering
from distributor.masking.keyed import Keyed
from distributor.masking.policy import Method, Policy
from distributor.masking.values import Mask, impossible, mask
from distributor.model.dataset import Column, DatasetSchema

References = Mapping[str, Mapping[str, str]]
"""Dataset → its referencing columns → the datasets whose rows they name."""
Masks = Mapping[str, Mapping[str, Mask]]
"""Dataset → column → its mask."""
Schemas = Mapping[str, DatasetSchema]


def compiled(policy: Policy, schemas: Schemas, references: References) -> Masks:
    """The masks of a policy. Datasets that have no shape yet are left out.

    Raises ConfigError that names every column that cannot be masked as the policy says.
    """
    if found := list(problems(policy, schemas, references)):
        raise ConfigError("\n".join(found), where=f"masking.{policy.name}", mend="docs/masking.md has what can be had.")
    keyed = Keyed(policy.secret)
    return {
        dataset: {
            column.name: remembering(mask(masked[column.name], column.type, keyed))
            for column in schemas[dataset].columns
            if column.name in masked
        }
        for dataset, masked in policy.columns.items()
        if dataset in schemas
    }


def problems(policy: Policy, schemas: Schemas, references: References) -> Iterator[str]:
    """Sentences, each with dataset and column; none when the policy can be had."""
    for dataset, masked in policy.columns.items():
        schema = schemas.get(dataset)
        if schema is None:
            continue
        columns = {column.name: column for column in schema.columns}
        for name, method in masked.items():
            if name not in columns:
                near = difflib.get_close_matches(name, columns, 1, 0.5) or list(columns)
                yield f"{dataset}.{name}: there is no such column; there is {', '.join(near)}"
            elif why := _against(schema, columns[name], method):
                yield f"{dataset}.{name}: {why}"
    for dataset, targets in references.items():
        for column, target in targets.items():
            if why := _apart(policy, schemas, dataset, column, target):
                yield f"{dataset}.{column}: {why}"


def _against(schema: DatasetSchema, column: Column, method: Method) -> str:
    if method is Method.NULL and column.name not in schema.key and not column.nullable:
        return "it is never NULL on the master, so it cannot become NULL: use fixed"
    return impossible(method, column.type, key=column.name in schema.key)


def _apart(policy: Policy, schemas: Schemas, dataset: str, column: str, target: str) -> str:
    """Why a reference would lead nowhere any more; "" when it leads where it led."""
    own, other = schemas.get(dataset), schemas.get(target)
    if own is None or other is None or len(other.key) != 1:
        return ""
    here = policy.columns.get(dataset, {}).get(column)
    there = policy.columns.get(target, {}).get(other.key[0])
    if here is not there:
        told = f"it is {_told(here)}, and {target}.{other.key[0]}, which it references, is {_told(there)}"
        return f"{told}: mask both alike, or rows find each other no longer"
    types = {one.name: one.type for one in own.columns}
    wanted = next(one.type for one in other.columns if one.name == other.key[0])
    if here is not None and column in types and types[column] != wanted:
        told = f"it is {types[column]}, and {target}.{other.key[0]}, which it references, is {wanted}"
        return f"{told}: a {here.value} of the same value would be another one"
    return ""


def _told(method: Method | None) -> str:
    return f"masked by {method.value}" if method else "in clear"
