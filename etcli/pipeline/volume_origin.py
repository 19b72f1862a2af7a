"""How a volume was made, as its history tells: what its measures can be trusted in depends on that."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from etcli.core.solvers.methods import METHODS

RECONSTRUCTION = re.compile(r"etcli recon [^:]*: ([^\n]*)")
ANGLES = re.compile(r"input: .* (-?[\d.]+) to (-?[\d.]+) deg")
BACKGROUND = re.compile(r"\bbackground (-?[\d.e+-]+)")
NONLINEAR = re.compile(r"\b(log(?=arithm\b)|(?<=--contrast )log|(?<=--contrast=)log|multislice)")
RESIDUAL = re.compile(r"etcli register [^:]*: [^\n]*\bresidual ([\d.]+) px")


@dataclass(frozen=True)
class VolumeOrigin:
    """Reconstruction that a volume comes from.

    Parameters
    ----------
    method : str
        Name of the method; "" where unknown.
    has_prior : bool
        Whether the volume was reconstructed with total variation.
    range_deg : (float, float) or None
        Lowest and highest tilt angle, in degrees; None where unknown or where there is no one axis.
    background : float
        Background level that was subtracted from the views.
    residual_px : float or None
        Residual of the alignment in pixels; None where unknown.
    nonlinear : str
        What makes the views no projections of the volume: "log" or "multislice"; "" for nothing.
    """

    method: str = ""
    has_prior: bool = False
    range_deg: tuple[float, float] | None = None
    background: float = 0.0
    residual_px: float | None = None
    nonlinear: str = ""

    @property
    def reach_deg(self) -> float | None:
        """Half of the tilt range, on which the elongation along the beam depends; None where unknown."""
        low, high = self.range_deg or (0.0, 0.0)
        return (high - low) / 2 if high > low else None

    @property
    def least_side_deg(self) -> float | None:
        """Largest tilt angle to the side that was tilted less; None where unknown."""
        return None if self.range_deg is None else min(-self.range_deg[0], self.range_deg[1])


def volume_origin(history: Sequence[str]) -> VolumeOrigin:
    """Read how a volume was made from its history.

    Parameters
    ----------
    history : sequence of str
        Steps, the oldest first; see `etcli.io.history`.

    Returns
    -------
    VolumeOrigin
        Of the last reconstruction; nothing is known of volumes of other programs.
    """
    steps = [(step, found) for step in history if (found := RECONSTRUCTION.match(step))]
    if not steps:
        return VolumeOrigin()
    step, found = steps[-1]
    words = found[1].split(",")[0].lower().split()
    angles = ANGLES.search(step)
    background = BACKGROUND.search(found[1])
    residuals = [match[1] for step in history if (match := RESIDUAL.match(step))]
    return VolumeOrigin(
        words[0] if words and words[0] in METHODS else "",
        "tv" in words,
        (float(angles[1]), float(angles[2])) if angles and "--euler" not in step else None,
        float(background[1]) if background else 0.0,
        float(residuals[-1]) if residuals else None,
        nonlinear[0] if (nonlinear := NONLINEAR.findall(step)) else "",
    )
