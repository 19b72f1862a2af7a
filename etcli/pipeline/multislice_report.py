"""How well a volume explains the phase-contrast images that it was reconstructed from."""

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.arguments import listed
from etcli.core.lengths import ANGSTROM_PER_UM
from etcli.core.multislice.refinement import ViewCorrections
from etcli.core.solvers.multislice import LeftOutTilts
from etcli.pipeline.phase_contrast_input import PhaseContrastInput
from etcli.pipeline.session import Session

POOR = 0.1
"""Part of the contrast that is not explained, above which signs or defoci are suspect. A tilt series with the
wrong sign of the tilt leaves 0.15 of that of a crystal, one with the wrong sign of the defocus 0.75."""
HARDLY = 0.3
"""Predicted share of the contrast of left-out images below which signs or defoci are suspect. It was 0.43 to
0.98 for series of 7000 e/Å² and more, and 0.2 or less with the wrong sign of the defocus."""
MUCH = 0.3
"""Uncertainty of that part above which it says nothing."""
TOO_QUIET = 0.95
"""Squared residual of left-out images over their noise, below which they hold less noise than their doses
imply: what was not fitted cannot be below it."""
N_SIGMA = 3.0
TOUCHING = 0.4
"""Mean potential of atoms in the outermost voxels over that of all, above which the specimen reaches beyond
them. It was 0.5 to 0.8 for particles that were cut, and up to 0.2 for others."""
OF_ATOMS, FEW = 10.0, 0.01
"""Voxels above this many medians of the positive ones are of atoms, if more than this part of them is. Noise
of any strength leaves 0.002 to 0.005 of them there, atoms that were cut 0.015 or more."""
MOST_SAMPLES = 1 << 20
"""Number of voxels from which the median is found."""


def report_fit(
    session: Session,
    images: PhaseContrastInput,
    volume: NDArray[np.float32],
    *,
    residual: float,
    contrast: float,
) -> dict[str, Any]:
    """Report which part of the images' contrast a volume leaves unexplained, and warn if that is much.

    Parameters
    ----------
    session : Session
    images : PhaseContrastInput
        The images.
    volume : ndarray of shape (nz, nx, ny), float32
        Potential in volts.
    residual : float
        ‖√Î - √I‖ with the images Î of the volume.
    contrast : float
        ‖√I - 1‖.

    Returns
    -------
    dict
        ``unexplained``, the residual over the contrast, both without noise, None where noise hides it;
        ``unexplained_uncertainty``; ``chi2``, the squared residual over that of counted electrons, None if
        the doses are not known; ``border``, as `border_over_mean`.
    """
    noise, counting = images.noise, images.counting_noise
    # the square of a normal variable has the variance 2
    uncertain = noise * sqrt(2 / images.images.size)
    signal = max(contrast**2 - noise, uncertain)
    excess = residual**2 - noise
    # where noise is fitted as well, as much of the contrast may be missing unnoticed
    unexplained, uncertainty = (
        sqrt(max(square, 0) / signal) if signal else 0.0 for square in (excess, max(uncertain, -excess))
    )
    chi2 = residual**2 / counting if counting else None
    share = f"{100 * unexplained:.2g}" if unexplained > uncertainty else f"less than {100 * uncertainty:.2g}"
    found = f"the volume leaves {share} % of the contrast of the images unexplained"
    if uncertainty > MUCH:
        found = "the images are explained down to their noise"
    session.reporter.report(found + (f", χ² = {chi2:.3f} per pixel" if chi2 is not None else ""))
    if unexplained > POOR and excess > N_SIGMA * uncertain:
        session.reporter.warn(
            f"{images.name}: the images are not explained well; check the signs of defoci and tilt angles, "
            "the defoci, the lens and the alignment (--refine shifts), or give more --iterations or a "
            "smaller --weight" + ", or more rows with --slices" * images.cropped
        )
    border = border_over_mean(volume, cropped=images.cropped)
    if border > TOUCHING:
        session.reporter.warn(
            f"{images.name}: the outermost voxels hold {border:.2g} times the mean potential of atoms, as if "
            "the specimen were larger than the volume; give a larger --thickness or --width"
        )
    return {
        "unexplained": unexplained if uncertainty <= MUCH else None,
        "unexplained_uncertainty": uncertainty,
        "chi2": chi2,
        "border": border,
    }


def report_prediction(session: Session, images: PhaseContrastInput, left_out: LeftOutTilts) -> dict[str, Any]:
    """Report how well images are predicted that the first iterations did not use; warn if they are not.

    What the images have in common with their prediction, over their contrast, both squared: noise makes the
    volume, and so the prediction, worse, but it is not mistaken for agreement.

    Parameters
    ----------
    session : Session
    images : PhaseContrastInput
        The images left out.
    left_out : LeftOutTilts
        Their residual and contrast.

    Returns
    -------
    dict
        ``predicted``, a share that is 1 for a perfect prediction and 0 for that of an empty volume; None
        without a test.
    """
    if not np.isfinite(left_out.residual):
        return {"predicted": None}
    agreement = left_out.contrast**2 - left_out.residual**2
    noise = images.noise
    too_quiet = left_out.residual**2 < TOO_QUIET * noise
    if too_quiet:
        session.reporter.warn(
            f"{images.name}: the images hold at most {left_out.residual**2 / noise:.0%} of the noise that "
            "their doses imply, as if they were interpolated, filtered or binned; give them as they were "
            "recorded, since a test of the model needs their noise"
        )
        noise = 0.0  # so the share predicted is a lower limit
    signal = max(left_out.contrast**2 - noise, noise * sqrt(2 / images.images.size))
    predicted = min(agreement / signal, 1.0) if signal else 1.0
    share = f"{'at least ' * too_quiet}{100 * max(predicted, 0.0):.0f} %"
    session.reporter.report(
        f"{share} of the contrast of {len(images.images)} images that were left out of the first "
        f"{left_out.sweeps} iterations is predicted"
    )
    if predicted < (HARDLY / 3 if too_quiet else HARDLY):
        session.reporter.warn(
            f"{images.name}: images that were left out are hardly predicted; check the signs of the defoci, "
            "the defoci and the alignment (--refine shifts), or the dose is too low, also for --refine"
        )
    return {"predicted": predicted}


def report_refinement(
    session: Session, images: PhaseContrastInput, found: ViewCorrections, refined: Sequence[str]
) -> dict[str, Any]:
    """Report how much the refined parameters of the images have changed.

    Parameters
    ----------
    session : Session
    images : PhaseContrastInput
        The images before the refinement.
    found : ViewCorrections
        What was found for each image; shifts are relative to the tilt axis.
    refined : sequence of {"shifts", "defocus", "rotation"}

    Returns
    -------
    dict
        ``shift_px`` (x, y), ``defocus_um`` and ``rotation_deg`` of every image, as far as they were refined.
    """
    numbers: dict[str, Any] = {}
    words = []
    if "shifts" in refined:
        numbers["shift_px"] = found.shift_px.tolist()
        words.append(f"shifts of {_rms(np.hypot(*found.shift_px.T)):.2g} px")
    if "defocus" in refined:
        numbers["defocus_um"] = (found.defocus_A / ANGSTROM_PER_UM).tolist()
        words.append(f"changes of the defocus of {_rms(found.defocus_A - images.defocus_A):.2g} Å")
    if "rotation" in refined:
        numbers["rotation_deg"] = found.rotation_deg.tolist()
        words.append(f"rotations of {_rms(found.rotation_deg):.2g}°")
    session.reporter.report(f"refined: {listed(words)} (root mean square)")
    return numbers


def _rms(values: NDArray[np.float64]) -> float:
    """Return the root of the mean square."""
    return sqrt(float(np.mean(values**2)))


def border_over_mean(volume: NDArray[np.float32], *, cropped: bool = False) -> float:
    """Compute the mean of the outermost voxels over that of all voxels, where atoms stand out from noise.

    Parameters
    ----------
    volume : ndarray of shape (nz, nx, ny), float32
        Potential, 0 or above.
    cropped : bool
        Whether the specimen may go on along y, so that the first and the last row do not count.

    Returns
    -------
    float
        Voxels that noise could explain count as 0. The result is 0 where few of the outermost voxels remain.
    """
    sample = volume[..., :: max(1, volume.size // MOST_SAMPLES)]
    positive = sample[sample > 0]
    level = OF_ATOMS * float(np.median(positive)) if positive.size else 0.0
    atoms = np.where(volume > level, volume, np.float32(0))
    inner = atoms[1:-1, 1:-1, slice(None) if cropped else slice(1, -1)]
    n_outer = atoms.size - inner.size
    if np.count_nonzero(atoms) - np.count_nonzero(inner) <= FEW * n_outer:
        return 0.0
    mean = float(atoms.mean(dtype=np.float64))
    return (mean * atoms.size - float(inner.sum(dtype=np.float64))) / n_outer / mean
