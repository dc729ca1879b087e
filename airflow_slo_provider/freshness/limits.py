"""Validate the age limits of a freshness sensor. Imported with every DAG file that has one, so no heavy imports here."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

#: Accepted difference between the clocks of two machines.
CLOCK_TOLERANCE = timedelta(minutes=1)


def check_limits(max_age: timedelta, warn_age: timedelta | None = None, tolerance: timedelta = CLOCK_TOLERANCE) -> None:
    """Validate age limits.

    :param max_age: maximum age
    :param warn_age: maximum age without a warning
    :param tolerance: how far a timestamp may lie in the future
    :raises ValueError: for anything but a timedelta, a negative one, or a warning age above the maximum
    """
    for name, value in (("max_age", max_age), ("warn_age", warn_age), ("tolerance", tolerance)):
        if value is None and name == "warn_age":
            continue
        if not isinstance(value, timedelta):
            raise ValueError(f"{name} {value!r} is not a timedelta; write e.g. timedelta(hours=4)")
        if value < timedelta(0):
            raise ValueError(f"{name} {value} is negative")
    if warn_age is not None and warn_age > max_age:
        raise ValueError(f"warn_age {warn_age} is above max_age {max_age}: it would never warn")


def read_quantile(quantile: float | str | Decimal | Fraction | None) -> Fraction:
    """Convert a quantile to an exact fraction: 0.99 becomes 99/100, not the nearest float. None becomes 1 (every group).

    :raises ValueError: when it is not a number above 0 and up to 1
    """
    if quantile is None:
        return Fraction(1)
    try:
        share = Fraction(str(quantile))  # also "99/100", the text form of a serialised Fraction
    except (ValueError, ZeroDivisionError):
        share = Fraction(0)
    if isinstance(quantile, bool) or not 0 < share <= 1:
        raise ValueError(f"quantile {quantile!r} is not a share above 0 and up to 1, e.g. 0.99")
    return share
