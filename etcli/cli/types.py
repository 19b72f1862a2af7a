"""Parameter types of the command line: view lists, lengths, amounts of memory."""

import math
import re
from typing import Any

import click

from etcli.core.errors import UsageError
from etcli.core.lengths import Length
from etcli.pipeline.view_selection import Region

# a number of views, rows or columns: no file has more digits, and a typing error must not fill the memory
COUNT = r"\d{1,7}"
MEMORY_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def _number(word: str) -> float:
    """Return a number, or NaN for what is none."""
    try:
        return float(word)
    except ValueError:
        return math.nan


class LengthType(click.ParamType[Length]):
    """Length: a bare number in the default unit of the option, or a number followed by px, A, nm or um."""

    name = "length"

    def __init__(self, bare: str) -> None:
        self.bare = bare

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Length:
        """Parse a length."""
        try:
            return Length.parse(value, self.bare)
        except UsageError as error:
            self.fail(str(error), param, ctx)


class WordOrLengthType(LengthType):
    """One of some words, such as ``auto``, or a length."""

    def __init__(self, bare: str, *words: str) -> None:
        super().__init__(bare)
        self.words = words
        self.name = "|".join([*words, "length"])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse a word or a length."""
        return value if value in self.words else super().convert(value, param, ctx)


class ZoneType(click.ParamType[tuple[int, int, int]]):
    """Zone axis: ``100``, ``1-10``, or ``1,1,12`` for indices of several digits."""

    name = "uvw"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, int]:
        """Parse a zone axis."""
        if isinstance(value, tuple):
            return value
        text = str(value).strip(" []")
        words = re.findall(r"-?\d{1,2}" if re.search(r"[,\s]", text) else r"-?\d", text)
        if len(words) != 3 or re.sub(r"[,\s]", "", text) != "".join(words) or not any(map(int, words)):
            self.fail(f"'{value}' is not a zone axis, such as 100, 1-10 or 1,1,12", param, ctx)
        return int(words[0]), int(words[1]), int(words[2])


class ViewListType(click.ParamType[tuple[int, ...]]):
    """List as in IMOD, counted from 1 (``1,4-7,60``); converted to a tuple of numbers counted from 0."""

    name = "list"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Parse a list."""
        if isinstance(value, tuple):
            return value
        numbers: list[int] = []
        for item in str(value).split(","):
            match = re.fullmatch(rf"\s*({COUNT})\s*(?:-\s*({COUNT})\s*)?", item)
            first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
            if min(first, last) < 1:
                self.fail(f"'{value}' is not a list counted from 1, such as 1,4-7,60", param, ctx)
            step = 1 if last >= first else -1
            numbers.extend(range(first - 1, last - 1 + step, step))
        return tuple(numbers)


class RegionType(click.ParamType[Region]):
    """Columns and rows counted from 1, both ends included: ``101-400,1-512``."""

    name = "x0-x1,y0-y1"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Region:
        """Parse a region."""
        if isinstance(value, Region):
            return value
        match = re.fullmatch(rf"\s*({COUNT})\s*-\s*({COUNT})\s*,\s*({COUNT})\s*-\s*({COUNT})\s*", str(value))
        numbers = [int(text) for text in match.groups()] if match else [0] * 4
        if not 1 <= numbers[0] <= numbers[1] or not 1 <= numbers[2] <= numbers[3]:
            self.fail(f"'{value}' is not a region counted from 1, such as 101-400,1-512", param, ctx)
        return Region(slice(numbers[0] - 1, numbers[1]), slice(numbers[2] - 1, numbers[3]))


class BoxType(click.ParamType[tuple[float, float, float]]):
    """Full widths in Å of a box about the centre along x, y and z: ``34.56,18.76,inf``."""

    name = "x,y,z"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float]:
        """Parse three lengths."""
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in str(value).split(",")]
        if len(words) != 3:
            self.fail(f"'{value}' is not three widths in Å, such as 34.5,18.7,inf", param, ctx)
        widths = []
        for word in words:
            length = Length(math.inf, "A") if word == "inf" else LENGTH_A.convert(word, param, ctx)
            widths.append(length.angstrom(None))
        if min(widths) <= 0:
            self.fail(f"'{value}' has no volume: all three widths must be above 0, or inf", param, ctx)
        return widths[0], widths[1], widths[2]


class AnglesType(click.ParamType[tuple[float, float]]):
    """Inner and outer angle of a detector in mrad: ``48,180``."""

    name = "inner,outer"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        """Parse two angles."""
        if isinstance(value, tuple):
            return value
        try:
            inner, outer = (float(word) for word in str(value).split(","))
        except ValueError:
            inner = outer = math.nan
        if not 0 < inner < outer < math.inf:
            self.fail(f"'{value}' is not an inner and an outer angle in mrad, such as 48,180", param, ctx)
        return inner, outer


class DefociType(click.ParamType[tuple[float, ...]]):
    """Defoci in µm: ``0.02,0.045,0.1``."""

    name = "list"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Parse a list of numbers."""
        if isinstance(value, tuple):
            return value
        numbers = [_number(word) for word in str(value).split(",")]
        if not all(map(math.isfinite, numbers)):
            self.fail(f"'{value}' is not a list of defoci in µm, such as 0.02,0.045,0.1", param, ctx)
        return tuple(numbers)


class DebyeWallerType(click.ParamType[float | dict[str, float]]):
    """A Debye-Waller factor in Å², or one for each element: ``Si:0.5,O:0.8``."""

    name = "B"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | dict[str, float]:
        """Parse a number, or elements with numbers."""
        if isinstance(value, float | dict):
            return value
        by_element = {}
        for word in str(value).split(","):
            element, _, number = word.rpartition(":")
            by_element[element.strip().capitalize()] = _number(number)
        of_all = "" in by_element
        if not all(0 <= b < math.inf for b in by_element.values()) or (of_all and len(by_element) > 1):
            self.fail(f"'{value}' is not a factor of 0 or more, or a list such as Si:0.5,O:0.8", param, ctx)
        return by_element.get("", by_element)


class MemoryType(click.ParamType[int]):
    """Amount of memory in bytes: ``8G``, ``500M``."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse an amount of memory."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", str(value), re.IGNORECASE)
        amount = float(match[1]) * MEMORY_UNITS[match[2].upper()] if match else 0.0
        if not 1 <= amount < math.inf:
            self.fail(f"'{value}' is not an amount of memory such as 8G or 500M", param, ctx)
        return int(amount)


class WordOrNumberType(click.ParamType[float | str]):
    """One of some words, or a number."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.name = "|".join([*words, "value"])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        """Parse a word or a number."""
        if isinstance(value, float) or value in self.words:
            return value  # type: ignore[no-any-return]
        try:
            level = float(value)
        except ValueError:
            level = math.nan
        if not math.isfinite(level):
            self.fail(f"'{value}' is not {', '.join(self.words)} or a number", param, ctx)
        return level


class AutoType(click.ParamType[float | str]):
    """``auto``, or a positive number of type int or float."""

    name = "auto|value"

    def __init__(self, kind: type[int] | type[float]) -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        """Parse a number."""
        if isinstance(value, self.kind) or value == "auto":
            return value  # type: ignore[no-any-return]
        try:
            number = self.kind(value)
        except ValueError:
            number = self.kind(0)
        if not (math.isfinite(number) and number > 0):
            what = "a whole number above 0" if self.kind is int else "a positive number"
            self.fail(f"'{value}' is not auto or {what}", param, ctx)
        return number


# makes shells complete file names; errors of a file are raised when it is opened
FILE = click.Path(readable=False)
LENGTH_PX = LengthType("px")
LENGTH_A = LengthType("A")
THICKNESS = WordOrLengthType("A", "auto")
ZONE = ZoneType()
VIEWS = ViewListType()
REGION = RegionType()
BOX = BoxType()
ANGLES = AnglesType()
DEFOCI = DefociType()
DEBYE_WALLER = DebyeWallerType()
MEMORY = MemoryType()
BACKGROUND = WordOrNumberType("auto", "none")
TOTAL = WordOrNumberType("median", "none")
WEIGHT = AutoType(float)
ITERATIONS = AutoType(int)
