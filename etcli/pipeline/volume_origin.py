"""How a volume was made, as its history tells: what its measures can be trusted in depends on that."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from etcli.core.solvers.methods import METHODS

RECONSTRUCTION = re.compile(r"etcli recon [^:]*: ([^\n]*)")
ANGLES = re.compile(r"input: .* (-?[\d.]+) to (-?[\d.]+) deg")
BACKGROUND = re.compile(r"\bbackground (-?[\d.e+-]+)")
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
    reach_deg : float or None
        Largest tilt angle to the side that was tilted less, in degrees; None where unknown.
    background : float
        Background level that was subtracted from the views.
    residual_px : float or None
        Residual of the alignment in pixels; None where unknown.
    """

    method: str = ""
    has_prior: bool = False
    reach_deg: float | None = None
    background: float = 0.0
    residual_px: float | None = None


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
        min(-float(angles[1]), float(angles[2])) if angles else None,
        float(background[1]) if background else 0.0,
        float(residuals[-1]) if residuals else None,
    )
