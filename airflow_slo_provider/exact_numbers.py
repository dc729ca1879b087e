"""Numbers as exact rationals: what budgets and shares are computed in."""

from __future__ import annotations

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
