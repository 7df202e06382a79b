"""One column's masking: from canonical text to canonical text of the same type."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal

from distributor.masking.keyed import WORD, Keyed
from distributor.masking.policy import Method
from distributor.model.types import Kind, LogicalType

Mask = Callable[[str], str | None]
MOST_DIGITS = 38
_LIMITS = (1 << 15, 1 << 31, 1 << 63)
_UUID_OCTETS = 16
_FIXED = {
    Kind.TEXT: "masked",
    Kind.BOOLEAN: "false",
    Kind.INTEGER: "0",
    Kind.DECIMAL: "0",
    Kind.DOUBLE: "0",
    Kind.DATE: "1970-01-01",
    Kind.TIME: "00:00:00",
    Kind.TIMESTAMP: "1970-01-01 00:00:00",
    Kind.TIMESTAMPTZ: "1970-01-01 00:00:00+00",
    Kind.UUID: "00000000-0000-0000-0000-000000000000",
    Kind.BYTES: "\\x",
    Kind.JSON: "{}",
}
_WITH_DIGITS = frozenset({Kind.TEXT, Kind.INTEGER, Kind.DECIMAL})
_WITH_TOKEN = _WITH_DIGITS | {Kind.UUID, Kind.BYTES}
_EXACT = Context(prec=2000)


def mask(method: Method, type_: LogicalType, keyed: Keyed) -> Mask:
    """What the method makes of a value of the type, NULL aside. `impossible` must have found nothing against it."""
    if method is Method.NULL:
        return lambda _text: None
    if method is Method.FIXED:
        text = _FIXED[type_.kind][: type_.length] if type_.kind is Kind.TEXT else _FIXED[type_.kind]
        return lambda _text: text
    if method is Method.DIGITS:
        return {
            Kind.TEXT: lambda text: keyed.other_digits(text, lambda _at: 0),
            Kind.INTEGER: lambda text: _integer_digits(keyed, text),
            Kind.DECIMAL: lambda text: _decimal_digits(keyed, text, type_),
        }[type_.kind]
    return {
        Kind.TEXT: lambda text: keyed.word(text)[: type_.length],
        Kind.INTEGER: lambda text: _integer_token(keyed, int(text)),
        Kind.DECIMAL: lambda text: _decimal_token(keyed, text, type_),
        Kind.UUID: lambda text: _uuid_token(keyed, text),
        Kind.BYTES: lambda text: "\\x" + keyed.octets("bytes", text, _UUID_OCTETS).hex(),
    }[type_.kind]


def impossible(method: Method, type_: LogicalType, *, key: bool) -> str:
    """Why a column of the type cannot be masked so; "" when it can. `key`: unlike values must stay unlike."""
    if key and not method.keeps_apart:
        return f"unlike keys must stay unlike, and {method!r} makes them alike: two rows would become one"
    if not method.keeps_apart:
        return ""
    if type_.kind not in (_WITH_TOKEN if method is Method.TOKEN else _WITH_DIGITS):
        return f"there is no {method.value} of a {type_}: use fixed or null"
    if method is Method.TOKEN and type_.kind is Kind.DECIMAL:
        if type_.precision is None:
            return (
                "a decimal without digits after its type has no range to take a token from: use digits, fixed or null"
            )
        if type_.precision > MOST_DIGITS:
            return f"tokens of decimals have at most {MOST_DIGITS} digits: use digits, fixed or null"
    if key and method is Method.TOKEN and type_.length is not None and type_.length < WORD:
        return f"a word of {type_.length} letters is too short to keep keys apart, {WORD} are needed: use digits"
    return ""


def _integer_token(keyed: Keyed, value: int) -> str:
    """Another integer of the same sign that a column of 16, 32 or 64 bits takes as it took the value."""
    magnitude = value if value >= 0 else -1 - value
    below = 0
    for limit in _LIMITS:
        if magnitude < limit:
            break
        below = limit
    else:
        raise ValueError(f"{value} has more than 64 bits")
    sign = "+" if value >= 0 else "-"
    moved = below + keyed.moved(f"integer {sign}", magnitude - below, limit - below)
    return str(moved if value >= 0 else -1 - moved)


def _decimal_token(keyed: Keyed, text: str, type_: LogicalType) -> str:
    """Another decimal of the same sign and type."""
    if text == "NaN":
        return text
    assert type_.precision is not None
    assert type_.scale is not None
    unscaled = int(Decimal(text).scaleb(type_.scale, _EXACT))
    size = 10**type_.precision
    if unscaled >= 0:
        moved = keyed.moved("decimal +", unscaled, size)
    else:
        # Zero has one sign only.
        moved = -1 - keyed.moved("decimal -", -1 - unscaled, size - 1)
    return _plain(Decimal(moved).scaleb(-type_.scale, _EXACT))


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _uuid_token(keyed: Keyed, text: str) -> str:
    digits = keyed.octets("uuid", text, _UUID_OCTETS).hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _integer_digits(keyed: Keyed, text: str) -> str:
    """As many other digits, walked on until 16, 32 or 64 bits are needed for them as for the value."""
    wanted = _width(int(text))
    found = _number_digits(keyed, text)
    while _width(int(found)) != wanted:
        found = _number_digits(keyed, found)
    return found


def _width(value: int) -> int:
    return next((limit for limit in _LIMITS if -limit <= value < limit), 0)


def _decimal_digits(keyed: Keyed, text: str, type_: LogicalType) -> str:
    if text in ("NaN", "Infinity", "-Infinity"):
        return text
    precision, scale = type_.precision, type_.scale
    if precision is None or scale is None:
        return _number_digits(keyed, text)
    if text == "0" and (scale < 0 or precision <= scale):
        # The type has no other value of one digit.
        return text
    if scale < 0:
        return _number_digits(keyed, text[:scale]) + text[scale:]
    return _number_digits(keyed, text, zeros=max(scale - precision, 0))


def _number_digits(keyed: Keyed, text: str, zeros: int = 0) -> str:
    """Other digits of a number in its canonical text, which stays canonical: no zeros before it or behind it.

    `zeros`: so many places after the point are always zero in the type.
    """
    start = 1 if text.startswith("-") else 0
    whole, point, fraction = text[start:].partition(".")
    first, last = len(text) - len(fraction), len(text) - 1

    def lowest(at: int) -> int | None:
        if point and at >= first:
            return None if at < first + zeros else int(at == last)
        if at != start:
            return 0
        if len(whole) > 1 or (start and not point):
            return 1
        # A zero before the point is no digit of the number: where one stands, one stays.
        return 0 if not point else (None if whole == "0" else 1)

    return keyed.other_digits(text, lowest)
