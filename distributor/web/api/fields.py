"""Fields that many requests have: what strangers may write into them."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Path, Query
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

MOST_RELEASE = 2**31 - 1
"""Release numbers are stored in four octets; a larger one is no release's."""
MOST_NUMBER = 2**63 - 1
LONGEST_REASON = 2000
_BAD = ("Cc", "Cs")


def readable(value: str) -> str:
    """The text, if it is one. Raises ValueError for control characters and half characters."""
    bad = next((sign for sign in value if unicodedata.category(sign) in _BAD and sign not in "\n\t"), None)
    if bad is not None:
        raise ValueError(f"it holds {bad.encode('unicode_escape').decode()}, which no text has")
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("it is empty")
    return value.strip()


def _storable(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("no calendar has this time") from error


Readable = Annotated[str, AfterValidator(readable)]
"""A text without what a terminal or PostgreSQL would not take: control characters and half characters."""
Reason = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_REASON, description="Why; it is kept in the audit."),
    AfterValidator(readable),
    AfterValidator(_not_blank),
]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(readable)]
"""What the config, or somebody else, has named."""
Moment = Annotated[AwareDatetime, AfterValidator(_storable)]
"""A time with its offset, as UTC."""
ReleaseNumber = Annotated[int, Field(strict=True, ge=0, le=MOST_RELEASE)]

Id = Annotated[str, Path(pattern=r"^[0-9a-f]{4,32}$", description="Its id, or any unambiguous beginning of it.")]
WholeId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="Its id.")]
Environment = Annotated[str, Path(max_length=200, description="An environment of the config.")]
System = Annotated[str, Path(max_length=200, description="A system of that environment."), AfterValidator(readable)]
Release = Annotated[int, Path(ge=1, le=MOST_RELEASE, description="A release's number.")]
Number = Annotated[int, Path(ge=1, le=MOST_NUMBER, description="Its number.")]
WrittenReason = Annotated[
    str,
    Query(min_length=1, max_length=LONGEST_REASON, description="Why; it is kept in the audit."),
    AfterValidator(readable),
    AfterValidator(_not_blank),
]
OfEnvironment = Annotated[str | None, Query(max_length=200, description="Only of this environment.")]
Dataset = Annotated[Name | None, Query(description="Only of this dataset.")]
Key = Annotated[
    list[Annotated[str, Field(max_length=1000), AfterValidator(readable)]],
    Query(max_length=32, description="Only the row of this key: once for each of its columns, as canonical text."),
]
Limit = Annotated[int, Query(ge=1, le=500, description="At most so many.")]


class Body(BaseModel):
    """What is sent; a field that is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Reasoned(Body):
    """What needs no more than a reason."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "the till's rounding is wrong in 1042"}]})
    reason: Reason
