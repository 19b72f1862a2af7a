"""Lengths with a unit, pixels or Å; the pixel size of an image converts one into the other."""

import math
import re
from dataclasses import dataclass

from etcli.core.errors import UsageError

ANGSTROM_PER_UM = 1e4
"""Defoci are in µm in files and options, in Å in computations."""
UNITS = {
    "px": (1.0, "px"),
    "A": (1.0, "A"),
    "Å": (1.0, "A"),
    "nm": (10.0, "A"),
    "um": (ANGSTROM_PER_UM, "A"),
}


@dataclass(frozen=True)
class Length:
    """A length: a number and its unit, ``"px"`` or ``"A"``."""

    value: float
    unit: str

    @classmethod
    def parse(cls, text: object, bare: str) -> "Length":
        """Parse a length.

        Parameters
        ----------
        text : Length, number or str
            A number, or a number followed by px, A, nm or um.
        bare : {"px", "A"}
            The unit of a bare number.

        Returns
        -------
        Length

        Raises
        ------
        UsageError
            When the text is not a length.
        """
        if isinstance(text, Length):
            return text
        match = re.fullmatch(r"\s*([-+]?[0-9.]+(?:[eE][-+]?\d+)?)\s*(px|A|Å|nm|um)?\s*", str(text))
        try:
            number = float(match[1]) if match else math.nan
        except ValueError:
            number = math.nan
        if match is None or not math.isfinite(number):
            raise UsageError(f"'{text}' is not a length; write a number, or one with px, A, nm or um: 4nm")
        scale, unit = UNITS[match[2] or bare]
        return cls(number * scale, unit)

    def px(self, pixel_A: float | None) -> float:
        """Return the length in pixels of ``pixel_A`` Å; raise UsageError where that is needed but unknown."""
        return self.value if self.unit == "px" else self.value / _required_pixel_A(pixel_A, "px")

    def angstrom(self, pixel_A: float | None) -> float:
        """Return the length in Å; raise UsageError where the pixel size is needed but unknown."""
        return self.value if self.unit == "A" else self.value * _required_pixel_A(pixel_A, "A")


def _required_pixel_A(pixel_A: float | None, unit: str) -> float:
    if pixel_A is None:
        raise UsageError(f"the pixel size of the input is not known; give lengths in {unit}")
    return pixel_A
