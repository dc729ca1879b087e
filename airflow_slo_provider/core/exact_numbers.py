"""Numbers as exact rationals: what budgets and shares are computed in, and how a share is written."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from airflow_slo_provider.exceptions import InvalidMeasurement

Number = int | float | str | Decimal | Fraction
#: Floats end at 1e308.
_MAX_EXPONENT = 400


def exact(value: Number, *, what: str = "value") -> Fraction:
    """Turn a number into an exact rational. A float is read as its shortest decimal text, so 0.1 is 1/10.

    :raises InvalidMeasurement: for NaN, infinity, a bool, text that is no number, or a number beyond 1e400
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
        # As a rational it would have that many digits, and every sum with it would take forever.
        raise InvalidMeasurement(f"{what} is {number}, which no measurement can be", reason="not_a_number")
    return Fraction(number)


def percent(share: float | Fraction, *, digits: int = 1, up: bool = False, padded: bool = False) -> str:
    """Write a share as per cent, the same in tables, pages and sentences.

    What is left is rounded down, so that it never looks like more: 18.69 % is 18.6 %. What is spent is rounded up. Nothing but
    all is 100 %, and nothing but nothing is 0 %: near them there are more digits, 0.04 % and not 0.0 %.

    :param share: a float is taken to twelve digits; what comes after them is noise of the binary form
    :param digits: decimals
    :param up: round up, for what is spent
    :param padded: keep zeros at the end, for columns
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
