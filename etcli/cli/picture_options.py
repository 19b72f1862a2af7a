"""Parameter types of the pictures of ``etcli view``."""

import math
from typing import Any

import click


def _number(word: str) -> float:
    """Return a number, or NaN for what is none."""
    try:
        return float(word)
    except ValueError:
        return math.nan


class LimitsType(click.ParamType[tuple[float, float, bool]]):
    """Two values, ``-0.1,2.5``, or percentiles, ``1%,99.8%``; the result tells in the end which of both."""

    name = "black,white"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, bool]:
        """Parse limits."""
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in str(value).split(",")]
        percent = all(word.endswith("%") for word in words)
        numbers = [_number(word.removesuffix("%") if percent else word) for word in words]
        fits = len(numbers) == 2 and -math.inf < numbers[0] < numbers[1] < math.inf
        if not fits or (percent and not 0 <= numbers[0] < numbers[1] <= 100):
            self.fail(f"'{value}' is not a lower and a higher value, such as 0,2.5 or 1%,99.8%", param, ctx)
        return numbers[0], numbers[1], percent


class SizeType(click.ParamType[tuple[float, float | None]]):
    """Width of a picture in mm, ``85``, or width and height, ``85,60``."""

    name = "width[,height]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float | None]:
        """Parse a size."""
        if isinstance(value, tuple):
            return value
        numbers = [_number(word.strip().removesuffix("mm")) for word in str(value).split(",")]
        if len(numbers) > 2 or not all(LEAST_MM <= number <= MOST_MM for number in numbers):
            self.fail(
                f"'{value}' is no width, or width and height, from {LEAST_MM} to {MOST_MM} mm, such as 85,60",
                param,
                ctx,
            )
        return numbers[0], numbers[1] if len(numbers) == 2 else None


LEAST_MM, MOST_MM = 40, 2000
LIMITS, SIZE = LimitsType(), SizeType()
