"""A masking policy as a value: its secret, and what becomes of which column."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

ENGINE = "masking/1"
"""Changes whenever the same policy makes another text of the same value: then every edition is made anew."""


class Method(StrEnum):
    """What becomes of a column's values. NULL stays NULL under all of them."""

    TOKEN = "token"  # noqa: S105 - the name of a method
    """Another value of the type, the same for the same value wherever it stands."""
    DIGITS = "digits"
    """Every digit is another one; everything else stays."""
    FIXED = "fixed"
    """One value for all."""
    NULL = "null"
    """NULL."""

    @property
    def keeps_apart(self) -> bool:
        """Whether unlike values stay unlike: what a key needs."""
        return self in (Method.TOKEN, Method.DIGITS)


@dataclass(frozen=True)
class Policy:
    """One policy of the config. `columns`: dataset → column → method."""

    name: str
    secret: str = field(repr=False)
    columns: Mapping[str, Mapping[str, Method]]

    @property
    def version(self) -> str:
        """The policy's fingerprint: another one is another content for the same release. The secret is in it as a
        digest under itself, from which nobody gets it but by guessing it whole."""
        proof = hmac.digest(self.secret.encode(), b"version of a masking policy", "sha256").hex()
        columns = {dataset: dict(sorted(masked.items())) for dataset, masked in sorted(self.columns.items())}
        written = json.dumps([ENGINE, self.name, proof, columns])
        return hashlib.sha256(written.encode()).hexdigest()
