"""Convert numbers to exact rationals, and format shares as percentages."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from airflow_slo_provider.exceptions import InvalidMeasurement

Number = int | float | str | Decimal | Fraction
#: The largest float64 is about 1e308.
_MAX_EXPONENT = 400


def exact(value: Number, *, what: str = "value") -> Fraction:
    """Convert a number to an exact rational. A float is read as its shortest decimal text, so 0.1 is 1/10.

    :param value: the number, or the text of one
    :param what: name of the value, for messages
    :raises InvalidMeasurement: for NaN, infinity, a bool, text that is not a number, or a number beyond 1e400
    """
    if isinstance(value, Fraction):
        return value
    if isinstance(value, bool):
        raise InvalidMeasurement(f"{what} is {value}, not a number", reason="not_a_number")
    if isinstance(value, int):
        return Fraction(value)
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except (InvalidOperation, TypeError, ValueError) as error:
        try:  # numpy scalars
            number = Decimal(repr(float(value)))
        except (TypeError, ValueError):
            raise InvalidMeasurement(f"{what} is {value!r}, not a number", reason="not_a_number") from error
    if not number.is_finite():
        raise InvalidMeasurement(f"{what} is {number}, not a finite number", reason="not_a_number")
    if abs(number.adjusted()) > _MAX_EXPONENT:
        # As a rational it would have that many digits, and every sum with it would be very slow.
        raise InvalidMeasurement(f"{what} is {number}, which no measurement can be", reason="not_a_number")
    return Fraction(number)


def percent(share: float | Fraction, *, digits: int = 1, up: bool = False, padded: bool = False) -> str:
    """Format a share as a percentage, the same in tables, pages and sentences.

    A remaining share is rounded down, so that it is never overstated: 18.69 % becomes 18.6 %. A spent share is rounded up. Only
    exactly 1 is shown as 100 %, and only exactly 0 as 0 %: close to them more digits are shown, 0.04 % and not 0.0 %.

    :param share: the share (0 to 1); a float is rounded to twelve digits, because further digits are noise of the binary form
    :param digits: decimals
    :param up: round up, for a spent share
    :param padded: keep trailing zeros, for columns
    """
    value = exact(round(share, 12) if isinstance(share, float) else share) * 100
    while True:
        scaled = value * 10**digits
        whole = math.ceil(scaled) if up else math.floor(scaled)
        if whole == scaled or whole not in (0, 100 * 10**digits):
            break
        digits += 1
    before, after = divmod(abs(whole), 10**digits)
    decimals = f"{after:0{digits}d}" if digits else ""
    if not padded:
        decimals = decimals.rstrip("0")
    return f"{'-' if whole < 0 else ''}{before}{'.' if decimals else ''}{decimals} %"
