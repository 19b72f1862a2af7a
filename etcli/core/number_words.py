"""Numbers as people write them: with their standard deviation, and with a noun."""

from math import floor, isfinite, log10

DIGITS = 4
"""Significant digits of a value without a known standard deviation."""
SMALLEST = 1e-5
"""Numbers below it are written as a multiple of a power of ten."""


def with_sigma(value: float, sigma: float) -> str:
    """Write a value with two digits of its standard deviation.

    Parameters
    ----------
    value : float
    sigma : float
        Standard deviation. Where it is not finite or 0, it is unknown, and the value is written alone.

    Returns
    -------
    str
        Both to the same digit; no power of ten unless the standard deviation is very small.

    Examples
    --------
    >>> with_sigma(56579.3, 2143.0), with_sigma(0.01237, 0.0011), with_sigma(11.5, float("nan"))
    ('56600 ± 2100', '0.0124 ± 0.0011', '11.5')
    """
    if not isfinite(sigma) or sigma <= 0 or not isfinite(value):
        return plain(value)
    if sigma < SMALLEST:
        power = floor(log10(max(abs(value), sigma)))
        return f"({with_sigma(value / 10.0**power, sigma / 10.0**power)}) · 10^{power}"
    place = floor(log10(float(f"{sigma:.1e}"))) - 1
    return " ± ".join(f"{round(number, -place) + 0.0:.{max(-place, 0)}f}" for number in (value, sigma))


def plain(value: float) -> str:
    """Write a value to four digits, and large ones without a power of ten."""
    if not isfinite(value) or abs(value) < 10**DIGITS:
        return f"{value:.{DIGITS}g}"
    return f"{float(f'{value:.{DIGITS}g}'):.0f}"


def counted(n: int, noun: str, plural: str = "") -> str:
    """Write a number with its noun: 1 label, 2 labels."""
    return f"{n} {noun if n == 1 else plural or noun + 's'}"
