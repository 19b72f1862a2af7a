"""Maps of counts: what an mdoc tells of an element, an X-ray line and the kind of the values."""

from dataclasses import asdict, dataclass, replace

from etcli.core.series import Description, TiltSeries
from etcli.io.mdoc import Mdoc

PARTS = TRAIN, TEST = "train", "test"
"""Names of the part of the counts that is fitted, and of the one that tells how well the fit predicts."""
COUNTS = "counts"
"""Values that are numbers of events, and the last word for what is proportional to these."""
INTERPOLATED = "interpolated counts"
MEAN, FILTERED, SCALED = "mean of counts per pixel", "counts, filtered", "counts, scaled"
"""Values that are counts no more."""
A_VOXEL = "counts a voxel"
"""Values of a volume that was reconstructed from counts."""


@dataclass(frozen=True)
class ElementMap:
    """What the images of a series are maps of, as ``Element``, ``Line`` and so on in an mdoc tell it.

    Parameters
    ----------
    element : str
        Chemical symbol, empty for a map of something else.
    line : str
        X-ray line or family, such as ``K``.
    sensitivity : float or None
        Counts of a voxel of density 1, up to a factor that all elements of a series have in common.
    part : str
        ``train`` or ``test`` for a part of the counts, empty for all.
    values : str
        ``counts``, ``expected counts`` of a fit, ``interpolated counts``; empty where it is not known.
    """

    element: str = ""
    line: str = ""
    sensitivity: float | None = None
    part: str = ""
    values: str = ""

    @classmethod
    def of(cls, description: Description | None) -> "ElementMap":
        """Read it from the description of a series."""
        if not isinstance(description, Mdoc):
            return cls()
        text = description.globals
        try:
            sensitivity = float(text.get("Sensitivity", ""))
        except ValueError:
            sensitivity = None
        element, line, part, values = (text.get(key, "") for key in ("Element", "Line", "Part", "Values"))
        return cls(element, line, sensitivity, part, values)

    @property
    def holds_counts(self) -> bool:
        """Whether pixels are numbers of events, or proportional to them: their sum has a meaning."""
        return self.values.endswith(COUNTS) or bool(self.element and not self.values)

    @property
    def may_be_raw(self) -> bool:
        """Whether whole values may be the counts that were recorded: not rounded ones of something else."""
        return self.values in ("", COUNTS)

    @property
    def of_volume(self) -> "ElementMap":
        """What a volume that is reconstructed from the map shows."""
        return replace(self, sensitivity=None, values=A_VOXEL if self.holds_counts else "")

    def as_dict(self) -> dict[str, str | float] | None:
        """Return what is known as plain values for JSON, None where nothing is."""
        return {key: value for key, value in asdict(self).items() if value not in ("", None)} or None

    def write(self, mdoc: Mdoc) -> Mdoc:
        """Return an mdoc that tells it; what is not known stays as it is."""
        for name, value in (self.as_dict() or {}).items():
            mdoc = mdoc.with_value(name.capitalize(), value)
        return mdoc


def described(description: Description | None, shows: ElementMap) -> Description | None:
    """Return the description of a series as that of its volume, which shows something else."""
    if not isinstance(description, Mdoc) or ElementMap.of(description) == ElementMap():
        return description
    for name, value in asdict(shows).items():
        description = description.with_value(name.capitalize(), value or "")
    return description


def with_values(images: TiltSeries, values: str) -> TiltSeries:
    """Return a map of counts that now holds other values, such as interpolated ones; others as they are."""
    known = ElementMap.of(images.description)
    if not known.holds_counts or not isinstance(images.description, Mdoc):
        return images
    return replace(images, description=replace(known, values=values).write(images.description))
