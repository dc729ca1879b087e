"""Formatted percentages."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import pytest

from airflow_slo_provider.core.exact_numbers import percent


@pytest.mark.parametrize(
    ("share", "left", "spent"),
    [
        (Fraction("0.1869"), "18.6 %", "18.7 %"),
        (Fraction("0.9997"), "99.9 %", "99.97 %"),
        (Fraction("0.9999996"), "99.9 %", "99.99996 %"),
        (Fraction("0.0004"), "0.04 %", "0.1 %"),
        (Fraction("-0.0004"), "-0.1 %", "-0.04 %"),
        (Fraction("1.0004"), "100.04 %", "100.1 %"),
        (Fraction(-1, 3), "-33.4 %", "-33.3 %"),
        (Fraction(-10012), "-1001200 %", "-1001200 %"),
        (Fraction(0), "0 %", "0 %"),
        (Fraction(1), "100 %", "100 %"),
        (0.187, "18.7 %", "18.7 %"),
        (0.95 - 0.9, "5 %", "5 %"),  # 0.04999999999999993
    ],
)
def test_percent_remaining_is_rounded_down_and_spent_up(share, left, spent):
    assert (percent(share), percent(share, up=True)) == (left, spent)


def test_percent_padded_keeps_trailing_zeros():
    assert [percent(Fraction(one), padded=True) for one in ("0.5", "0.125", "-1", "0.0004")] == [
        "50.0 %", "12.5 %", "-100.0 %", "0.04 %",
    ]  # fmt: skip
    assert percent(Fraction("0.99"), digits=4, padded=True) == "99.0000 %"
    assert percent(Fraction("0.999"), digits=0) == "99 %"


def test_percent_remaining_and_spent_add_up_to_100():
    random = Random(7)
    for _ in range(2000):
        left = Fraction(random.randint(-3000, 1000), random.choice((1000, 777, 100_003)))
        told, used = (Fraction(text.removesuffix(" %")) for text in (percent(left), percent(1 - left, up=True)))
        assert told + used == 100
        assert told <= left * 100
        assert (told in (0, 100)) == (left in (0, 1))
