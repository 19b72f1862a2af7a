"""Report of how much of the views a volume explains, with a warning where that is little.

Percentages of the views that 30 iterations of SIRT leave unexplained, with and without noise, in 16 rows in
the middle of simulated and experimental series (dark field; the last columns are the same series spoilt):

| series | with | without | displaced by 2 or 3 px (rms) | as recorded, not aligned | angles shuffled |
|---|---|---|---|---|---|
| needle, 77 views | 6.8 | 6.0 | 16 | 36 | 32 |
| the same with normal noise of 20 % | 26 | 6.2 | 17 | | |
| catalyst, 90 views | 2.3 | 1.4 | | | 3.8 |
| the same with normal noise of 10 % | 16 | 0.9 | 6 | | |
| particles on a film, 71 views | 18 | 12.5 | 30 | | 55 |
| porous ball, 71 views | 4.3 | 1.8 | 8 | | 5 |
| network, 71 views | 7.9 | 4.0 | 18 | | 26 |
| alloy, dark field | 9.3 | 4.3 | 14 | | 44 |
| alloy, X-rays of few counts | 22 to 24 | 8 | 14 to 22 | | 32 to 43 |
| amorphous film, 46 views, fista | 12 | 7.8 | | | |
| 208 atoms of silicon, 1.6e5 e/Å² | 35 | 10 | 25 | | 25 |
| the same, 1.6e4 and 8e3 e/Å² | 85 to 92 | noise hides it | noise | | noise |
| needle with the axis along x | 30 | 29 | | | |
| white noise | 77 | noise hides it | | | |

`fista`, `mlem`, `cgls`, `sart` and `resire` leave 1 to 3 % of the needle, `dart` with two levels 4, and 15
to 45 of the spoilt ones, as SIRT does. `fbp` is no fit to the views: it leaves 15 to 20 of aligned series and
22 to 38 of the needle that is not, hence its own limit. `bp` leaves 66 of any series, so it has none.

A ball in the middle of the views is explained at any alignment, and a tilt axis that is displaced by 10 px
costs no more than 0.5: little unexplained is no proof of a good alignment.
"""

from math import inf

from etcli.core.reconstruction.slab_by_slab import ErrorCurve
from etcli.core.solvers.methods import MethodParameters
from etcli.pipeline.session import Session

HIDING = 0.25
"""Part of white noise in the residual above which the rest may be noise as well. It was 0.5 or more in the
series of single atoms at low dose, 0.2 or less in displaced series with noise of 20 %."""

FEW_TILTS = 10
"""Fewer tilt angles are explained by wrong volumes as well: of 3, 5, 7, 9 and 13 views of the needle 2.2,
1.3, 10, 11 and 23 % were left with the angles shuffled, 2.2, 1.5, 2.6, 3.6 and 5.0 % with the right ones."""
PILED = 1.2
"""Mean density of the outermost sections over that of all, above which the specimen is thicker than the
volume. It was 0.97 at most where a tenth of the specimen or less was outside, 1.3 to 3.7 where more was."""


def report_explained(
    session: Session,
    name: str,
    parameters: MethodParameters,
    errors: ErrorCurve,
    *,
    n_tilts: int,
    thin: bool,
    level_known: bool = True,
) -> None:
    """Report which part of the views a volume leaves unexplained; warn if that is more than usual.

    Warn as well of few tilt angles, and if the specimen seems to be thicker than the volume.

    Parameters
    ----------
    session : Session
    name : str
        The series.
    parameters : MethodParameters
        Method that made the volume.
    errors : ErrorCurve
        With the numbers of `etcli.core.reconstruction.explained.Unexplained`, unless the method reports by
        itself.
    n_tilts : int
        Number of different tilt angles.
    thin : bool
        Whether the volume is thinner than the views are wide.
    level_known : bool
        Whether the background level is known; else the part is that of the views above their darkest parts.
    """
    if n_tilts < FEW_TILTS:
        session.reporter.warn(
            f"{name}: {n_tilts} tilt angle{'s' * (n_tilts > 1)} only; a volume explains so few views, and "
            "its half-sets agree, whether it is right or not, so neither proves anything"
        )
    if parameters.traits.phase_contrast:  # reported with the noise that is known from the dose
        return
    if thin and errors.numbers.get("border", 0.0) > PILED:
        session.reporter.warn(
            f"{name}: the outermost sections hold {errors.numbers['border']:.2g} times the mean density, as "
            "if the specimen were thicker than the volume; give a larger --thickness, or auto; a bare number "
            "is in Å"
        )
    residual, unexplained, noise = (
        errors.numbers[key] for key in ("residual", "unexplained", "unexplained_noise")
    )
    limit = parameters.traits.unexplained
    above = "" if level_known else " above their darkest parts"
    found = f"the volume leaves {_percent(residual)} of the views{above} unexplained"
    if residual > 1:
        found = f"the volume explains nothing of the views{above}"
    if unexplained is None or (unexplained > limit and noise > HIDING):
        session.reporter.report(found)
        session.reporter.warn(
            f"{name}: the views hold so much noise that it hides how well the volume explains them; bin "
            "them to find out"
        )
        return
    blurred = ", as plain back-projection blurs" if limit == inf else ""
    clean = f", {_percent(unexplained)} without noise{blurred}" if residual <= 1 else ""
    session.reporter.report(f"{found}{clean}")
    if unexplained > limit:
        what = "tilt angles and" if level_known else "tilt angles, --background and"
        check = f"check alignment, tilt axis, {what} --thickness"
        if residual > 1:
            check = "look whether 0 is empty (--background), and for bright-field views give --contrast log"
        elif parameters.iterations < parameters.traits.iterations:
            check = (
                f"{parameters.iterations} iterations may be too few for that, give more first; else {check}"
            )
        elif parameters.traits.is_iterative:
            check += ", or give more --iterations"
        session.reporter.warn(
            f"{name}: views of an aligned series are explained better (to {100 * limit:.0f} %); {check}"
        )


def _percent(share: float) -> str:
    """Return a share in percent, with two digits where it is small."""
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 10 else f"{max(percent, 0.01):.2g} %"
