"""Numbers as people write them."""

import math

import pytest

from etcli.core.number_words import counted, plain, with_sigma


@pytest.mark.parametrize(
    ("value", "sigma", "text"),
    [
        (56579.3, 2143.0, "56600 ± 2100"),
        (0.5731, 0.0214, "0.573 ± 0.021"),
        (11.53, 0.996, "11.5 ± 1.0"),
        (-0.004, 0.21, "0.00 ± 0.21"),
        (123456.0, 9.96, "123456 ± 10"),
        (3.214e-7, 1.2e-9, "(3.214 ± 0.012) · 10^-7"),
        (0.0, 0.0, "0"),
        (56579.3, math.nan, "56580"),
        (math.nan, 1.0, "nan"),
    ],
)
def test_two_digits_of_the_error_decide_those_of_the_value(value: float, sigma: float, text: str) -> None:
    assert with_sigma(value, sigma) == text


def test_a_noun_has_the_number_it_needs() -> None:
    assert counted(1, "label") == "1 label" and counted(0, "label") == "0 labels"
    assert counted(1, "cavity", "cavities") == "1 cavity" and counted(2, "cavity", "cavities") == "2 cavities"
    assert plain(1234567.0) == "1235000"
