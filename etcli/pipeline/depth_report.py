"""What depth sectioning tells its user: results in a few lines, and all that makes them doubtful."""

from collections import Counter

import numpy as np

from etcli.core.depth.counting import SCALES
from etcli.pipeline.depth_section_result import DepthSection
from etcli.pipeline.session import Session

MOSTLY_FLAGGED = 0.5
MANY_WRONG = 0.1
UNEVEN_STEPS = 1.6
"""Ratio of neighbouring steps between the means of a mixture from which a count is probably missing."""
NEAR_LIMIT = 0.005
NO_LATTICE = 0.8
"""Median distance of depths from a lattice, relative to that of depths that know nothing of it."""
AS_GOOD = 1.2
FEW_HEIGHTS = 5
"""Columns from which the level of a lattice is not known for certain."""


def report_depth_section(session: Session, result: DepthSection) -> None:
    """Report the result of depth sectioning, and warn of what makes it doubtful.

    Parameters
    ----------
    session : Session
    result : DepthSection
    """
    _report_drift(session, result)
    if result.sectioning is None:
        return
    say, found = session.reporter, result.found
    flagged = sum(bool(flag) for flag in result.flags)
    say.report(
        f"{len(found.fit)} columns, width {np.median(found.fit.width_px) * found.images.pixel_A:.3f} Å, in "
        f"the mean of {len(found.chosen)} section{'s' * (len(found.chosen) > 1)}; {flagged} flagged"
    )
    if flagged > MOSTLY_FLAGGED * len(found.fit):
        kinds = Counter(flag for flags in result.flags for flag in flags.split())
        named = ", ".join(f"{number} {flag}" for flag, number in kinds.most_common())
        say.warn(f"{result.series.name}: most columns are doubtful ({named})")
    if result.saturated.any():
        say.warn(
            f"{result.series.name}: {int(result.saturated.sum())} columns have saturated pixels; they seem "
            "to have fewer atoms than they have, and are flagged"
        )
    _report_counts(session, result)
    _report_depths(session, result)
    _report_lattice(session, result)
    _report_bounds(session, result)


def _report_drift(session: Session, result: DepthSection) -> None:
    say, images = session.reporter, result.images
    if result.shifts is None:
        return
    drift = images.displacement_px
    rms = float(np.sqrt(((drift - drift.mean(axis=0)) ** 2).sum(axis=1).mean()))
    say.report(
        f"drift: {rms:.2f} px ({rms * images.pixel_A:.2f} Å) root mean square over {len(images)} sections"
    )
    doubtful = np.flatnonzero(result.shifts.doubtful) + 1
    if len(doubtful):
        say.warn(
            f"{result.series.name}: the drift of section {', '.join(map(str, doubtful[:8]))} is doubtful; "
            "look at the picture (--plot), or leave it out (--views)"
        )


def _report_counts(session: Session, result: DepthSection) -> None:
    say, counts, name = session.reporter, result.found.counts, result.series.name
    if counts is None:
        return
    method = {"library": "nearest library", "hybrid": "hybrid mixture", "icl": "free mixture"}
    say.report(
        f"{counts.total} atoms by the {method[result.request.count_method]}, {counts.count.min()} to "
        f"{counts.count.max()} a column; scale {counts.scale:.3f}; {counts.expected_errors:.1f} counts are "
        f"expected to be wrong, {int(counts.ambiguous.sum())} are ambiguous"
    )
    if counts.scale_ambiguous:
        say.warn(
            f"{name}: a scale of {counts.other_scale:.3f} explains the cross-sections nearly as well as "
            f"{counts.scale:.3f}; give --scs-scale, or a --lattice, whose heights tell odd counts from even "
            "ones"
        )
    fitted = result.request.scs_scale == "auto" and result.request.count_method != "icl"
    if fitted and min(abs(counts.scale - limit) for limit in SCALES) < NEAR_LIMIT:
        say.warn(
            f"{name}: the scale of the cross-sections is at the limit of {counts.scale:.2f}: the dose, the "
            "microscope or the element do not fit, and counts are wrong"
        )
    if 1 - counts.expected_exact > MANY_WRONG:
        say.warn(
            f"{name}: {1 - counts.expected_exact:.0%} of the counts are expected to be wrong; see count_prob"
        )
    mixture = next((fit for fit in result.found.mixtures if fit.n_components == len(counts.means)), None)
    if mixture is not None and mixture.step_ratio > UNEVEN_STEPS:
        say.warn(
            f"{name}: the steps between the means differ by a factor of {mixture.step_ratio:.1f}: a count is "
            "missing or counted twice; a library would tell"
        )


def _report_depths(session: Session, result: DepthSection) -> None:
    say, depths = session.reporter, result.found.depths
    if depths is None:
        return
    fit = depths.fit
    known = np.isfinite(fit.sigma_A)
    say.report(
        f"depths {np.nanmin(fit.depth_A):.1f} to {np.nanmax(fit.depth_A):.1f} Å, standard error "
        f"{np.median(fit.sigma_A[known]):.2f} Å in the median"
    )
    if not result.request.correction:
        say.warn(
            f"{result.series.name}: depths are peaks without correction, wrong by some Å in thick columns"
        )
    if result.sign is None:
        return
    if result.sign.wrong:
        say.warn(
            f"{result.series.name}: the profiles fit better with the defocus reversed (chi-square "
            f"{-result.sign.advantage:.0f} lower); check --defocus-sign, the depths may all be mirrored"
        )
    elif not result.sign.has_power:
        say.report(
            "columns as thin as these, or with this noise, do not tell the sign of the defocus: it is taken "
            "as given"
        )


def _report_lattice(session: Session, result: DepthSection) -> None:
    say, found, lattice = session.reporter, result.found, result.lattice
    if found.match is None or found.on_lattice is None or lattice is None:
        return
    on = found.on_lattice
    random = lattice.spacing_A / 4
    wrong = float((1 - on.probability)[found.match.matched].sum())
    say.report(
        f"{int(found.match.matched.sum())} columns on the lattice (scale {found.match.scale:.4f}, "
        f"{found.match.residual_A:.2f} Å in the image), its level from {on.n_used} of them; {wrong:.1f} "
        "heights are expected to be an atom off (snap_prob)"
    )
    independent = on.residual_A if found.free_residual_A is None else found.free_residual_A
    if independent > NO_LATTICE * random:
        say.warn(
            f"{result.series.name}: the depths do not follow the lattice (median distance {independent:.2f} "
            f"Å, {random:.2f} Å by chance, {on.n_used} columns used); heights of the model are those of the "
            "lattice by chance: use --relax none, and check counts, zone axis and the sign of the defocus"
        )
    elif on.n_used < FEW_HEIGHTS:
        say.warn(
            f"{result.series.name}: the level of the lattice comes from {on.n_used} columns only, and all "
            "heights may be off together"
        )
    elif found.other_residual_A < AS_GOOD * on.residual_A:
        say.warn(f"{result.series.name}: another stacking of the lattice fits the depths nearly as well")


def _report_bounds(session: Session, result: DepthSection) -> None:
    say, bounds = session.reporter, result.bounds
    if bounds is None:
        return
    sigma, atoms = bounds.column_A, bounds.atoms.sigma_A
    say.report(
        f"attainable precision of whole columns: {sigma[0]:.2f} Å for 1 atom, "
        f"{sigma[bounds.n_atoms - 1]:.2f} Å for {bounds.n_atoms}"
    )
    say.report(
        f"of single atoms in a column of {bounds.n_atoms}: {atoms.min():.3g} to {atoms.max():.3g} Å "
        f"(condition number of the Fisher matrix {bounds.atoms.condition:.1e})"
    )
    if not bounds.atoms.trusted:
        say.warn(
            "the bounds of single atoms are not determined: with this condition number they change by "
            "orders of magnitude with the model of thermal motion"
        )
