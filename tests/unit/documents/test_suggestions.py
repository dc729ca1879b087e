"""The name that an unknown word suggests."""

import difflib
import random

import pytest

from airflow_slo_provider.documents.fields import did_you_mean

NAMES = [f"checkout-service-{number:04d}" for number in range(600)]


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("sol", ["slo", "sli"], "slo"),
        ("CHECKOUT", ["checkout"], "checkout"),
        ("chekcout-service-0042", NAMES, "checkout-service-0042"),
    ],
)
def test_a_similar_name_is_suggested(word: str, known: list[str], meant: str) -> None:
    assert did_you_mean(word, known) == f"; did you mean {meant!r}?"


@pytest.mark.parametrize("word", ["payments", "", "x" * 101])
def test_other_names_are_not(word: str) -> None:
    assert did_you_mean(word, NAMES) == ""


def test_among_many_names_a_misspelt_one_is_found_as_difflib_finds_it() -> None:
    chance = random.Random(7)
    names = ["".join(chance.choices("abcdefgh-", k=chance.randint(3, 20))) for _ in range(600)]
    for name in chance.sample(names, 100):
        place = chance.randrange(len(name))
        word = name[:place] + chance.choice("xyz") + name[place + 1 :]
        expected = difflib.get_close_matches(word, names, n=1)
        assert did_you_mean(word, names) == (f"; did you mean {expected[0]!r}?" if expected else "")
