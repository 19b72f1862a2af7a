"""Request of a segmentation: its options, and the check of their combinations."""

from dataclasses import dataclass, fields
from typing import Any

from etcli.core.arguments import checked_integer, checked_number, listed
from etcli.core.errors import UsageError
from etcli.core.lengths import Length
from etcli.core.segmentation.thresholds import RULES

TWIN, HYSTERESIS, VALUE, AUTO, NONE, DENSE = "twin", "hysteresis", "value", "auto", "none", "dense"


@dataclass(frozen=True)
class Method:
    """How the threshold is found.

    Parameters
    ----------
    rule : str
        "auto", a rule of `etcli.core.segmentation.thresholds.RULES`, "twin", "hysteresis" or "value".
    levels : tuple of float
        The value; or the two of hysteresis, the lower one first.
    """

    rule: str = AUTO
    levels: tuple[float, ...] = ()

    @property
    def states_level(self) -> bool:
        """Whether the level of the surface is given or measured, so that labels have no other."""
        return self.rule in (TWIN, HYSTERESIS, VALUE)

    @classmethod
    def parse(cls, given: Any) -> "Method":
        """Parse a method.

        Parameters
        ----------
        given : None, float or str
            None for the automatic choice; a value; the name of a rule; or ``hysteresis:LOW,HIGH``.

        Returns
        -------
        Method

        Raises
        ------
        UsageError
        """
        if given is None or given == AUTO:
            return cls()
        if isinstance(given, str):
            name, _, levels = given.partition(":")
            if name == HYSTERESIS:
                return cls(HYSTERESIS, _two_levels(given, levels))
            if given in (*RULES, TWIN):
                return cls(given)
        try:
            number = float("" if isinstance(given, bool) else given)
        except (TypeError, ValueError):
            names = ", ".join((*RULES, TWIN))
            raise UsageError(
                f"no method named {given!r}; use {names}, hysteresis:LOW,HIGH or a value"
            ) from None
        return cls(VALUE, (checked_number("method", number),))


@dataclass(frozen=True)
class SegmentRequest:
    """Options of a segmentation, named as those of ``etcli segment``.

    Parameters
    ----------
    method : Method
    one_threshold : bool
        Whether labels never get thresholds of their own (``--global``).
    smooth : Length or None
        Standard deviation of a Gaussian that the volume is smoothed with first.
    split : Length or None
        Dynamics of the splitting; None to leave pieces whole.
    min_size : int
        Smallest number of voxels of a label.
    fill_holes : bool
    invert : bool
        Whether what is darker is labelled.
    """

    method: Method = Method()
    one_threshold: bool = False
    smooth: Length | None = None
    split: Length | None = Length(0.75, "px")
    min_size: int = 20
    fill_holes: bool = False
    invert: bool = False

    def __post_init__(self) -> None:
        if checked_integer("min_size", self.min_size) < 1:
            raise UsageError(f"--min-size {self.min_size} must be 1 or more")
        for name, length in (("smooth", self.smooth), ("split", self.split)):
            if length is not None and length.value < 0:
                raise UsageError(f"--{name} {length.value:g} must be 0 or more")

    def check(self, *, has_series: bool) -> None:
        """Check that options go together, and that a series is given where it is needed, else UsageError."""
        if self.invert and self.fill_holes:
            raise UsageError("--fill-holes would fill the specimen with --invert; leave one of them out")
        if self.invert and self.method.rule == DENSE:
            raise UsageError("--method dense labels what is denser, --invert what is darker; leave one out")
        if self.method.rule == TWIN and not has_series:
            raise UsageError("--method twin needs the views of the volume; give them with --series")
        if has_series and self.method.rule != TWIN:
            raise UsageError(f"--series is for --method twin, not for {self.method.rule}; leave it out")


def request_of(
    *,
    method: Any = None,
    series: Any = None,
    split: Length | float | str | None = "0.75px",
    smooth: Length | float | str | None = None,
    **others: Any,
) -> SegmentRequest:
    """Create the request from options as they are given; with a series, the method is twin by default."""
    known = [field.name for field in fields(SegmentRequest)]
    if unknown := others.keys() - set(known):
        raise UsageError(f"segment has no option {listed(sorted(unknown))}; it has {listed(known)}")
    parsed = Method(TWIN) if method is None and series is not None else Method.parse(method)
    request = SegmentRequest(
        parsed,
        split=None if split in (None, NONE) else Length.parse(split, "px"),
        smooth=None if smooth is None else Length.parse(smooth, "px"),
        **others,
    )
    request.check(has_series=series is not None)
    return request


def _two_levels(given: str, levels: str) -> tuple[float, float]:
    """Parse the levels of hysteresis."""
    try:
        low, high = (checked_number("level", float(word)) for word in levels.split(","))
    except ValueError:
        raise UsageError(f"{given!r} is not hysteresis:LOW,HIGH, such as hysteresis:0.3,0.6") from None
    if not low < high:
        raise UsageError(f"{given!r}: the first level must be below the second")
    return low, high
