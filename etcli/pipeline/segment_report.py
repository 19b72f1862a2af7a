"""What ``etcli segment`` tells of its labels: lines for people, numbers for programs."""

from typing import TYPE_CHECKING, Any

import numpy as np

from etcli.core.number_words import counted
from etcli.core.segmentation.segment import Contrasts
from etcli.pipeline.segment_request import DENSE, HYSTERESIS, TWIN, VALUE, SegmentRequest
from etcli.pipeline.session import Session

if TYPE_CHECKING:
    from etcli.pipeline.segmentation import Segmentation

MANY, NETWORK = 5, 0.5
"""Number of labels, and median of the same ratio of their cuts, from which on one piece is a network."""
DOUBTFUL = 0.9
"""Radius of a neck over that of the smaller body from which on a cut is named."""


def report_segmentation(session: Session, found: "Segmentation", request: SegmentRequest) -> None:
    """Report what was found."""
    tell = session.reporter.report
    n = len(found.volume_px) - 1
    levels = " and ".join(f"{threshold:.5g}" for threshold in found.thresholds)
    side = "below" if request.invert else "above"
    rule = {VALUE: "", HYSTERESIS: f" {HYSTERESIS}"}.get(found.rule, f" {found.rule}")
    own = ", each at half of its own contrast" if found.levels is not None else ""
    tell(f"{counted(n, 'label')} {side}{rule} {levels}{own}")
    if found.surroundings:
        tell("the surroundings, which reach the border of the volume, are left out")
    if found.n_small:
        tell(f"{counted(found.n_small, 'piece')} of less than {request.min_size} voxels left out")
    if len(found.border):
        tell(f"{counted(len(found.border), 'label')} cut by the border of the volume")
    if request.split is not None and n > found.n_pieces:
        tell(f"{counted(found.n_pieces, 'piece')} split into {n}")
    doubtful = found.cuts.ratio >= DOUBTFUL
    if request.split is not None and doubtful.any():
        one, two = found.cuts.labels[0]
        tell(
            f"{counted(int(doubtful.sum()), 'cut')} as wide as the smaller body, or nearly (neck over radius "
            f"{found.cuts.ratio[0]:.2f} between labels {one} and {two}); a larger --split joins them"
        )


def report_network(session: Session, found: "Segmentation", request: SegmentRequest, share: float) -> None:
    """Report that a network has been cut into bodies where it is hardly narrower."""
    if request.split is None or not len(found.cuts.ratio):
        return
    n, ratio = len(found.volume_px) - 1, float(np.median(found.cuts.ratio))
    has_loops = len(found.cuts.ratio) > n  # unlike chains of bodies
    if n >= MANY and has_loops and ratio >= NETWORK:
        session.reporter.warn(
            f"one piece holds {share:.0%} of the solid and is cut where it is hardly narrower (neck over "
            f"radius {ratio:.2f}, median): a network? --split none leaves it whole"
        )


def report_contrasts(session: Session, request: SegmentRequest, contrasts: Contrasts) -> None:
    """Warn of one threshold for bodies of several materials."""
    if not contrasts.are_of_several_materials:
        return
    contrast = contrasts.contrast[contrasts.is_body] if contrasts.is_body.any() else contrasts.contrast
    advice = "leave out --global" if request.one_threshold else "label them without --method"
    if request.method.rule == TWIN:
        advice = "label them without --series"
    session.reporter.warn(
        f"the contrast of the labels is from {contrast.min():.3g} to {contrast.max():.3g}: with one "
        f"threshold light ones are too small and dense ones too large; {advice}, so that each ends at half "
        "of its own"
    )


def report_fainter(session: Session, n: int, level: float) -> None:
    """Warn of bodies that are not labelled as they are too light."""
    if n:
        are = "bodies are" if n != 1 else "body is"
        session.reporter.warn(
            f"{n} fainter {are} not labelled, below the threshold of the large one; --method {level:.3g} "
            "labels what is above this level"
        )


def report_densities(session: Session, request: SegmentRequest, levels: tuple[float, float] | None) -> None:
    """Report that a denser material is hidden in what was labelled, or that the method found none."""
    if request.method.rule == DENSE:
        if levels is None:
            session.reporter.warn(
                "nothing stands out from the solid; without --method dense all of it is labelled"
            )
    elif levels is not None:
        lighter, denser = levels
        session.reporter.report(
            f"the solid has two densities, {lighter:.3g} and about {denser:.3g}; --method dense labels the "
            "denser bodies, such as metal on a support"
        )


def numbers_of(found: "Segmentation") -> dict[str, Any]:
    """Return the numbers of a segmentation, for ``--json``."""
    pixel_A = found.labels.pixel_A
    volume_px = found.volume_px[1:]
    n = len(volume_px)
    levels = found.levels
    border = np.isin(np.arange(1, n + 1), found.border)
    local = {}
    if levels is not None:
        local = {
            "background": levels.background[1:].tolist(),
            "plateau": levels.plateau[1:].tolist(),
            "threshold": levels.threshold[1:].tolist(),
        }
    return {
        "method": found.rule,
        "thresholds": list(found.thresholds),
        "local": levels is not None,
        "n_labels": n,
        "n_pieces": found.n_pieces,
        "n_small": found.n_small,
        "n_border": len(found.border),
        "volume_px": int(volume_px.sum()),
        "volume_nm3": float(volume_px.sum()) * (pixel_A / 10) ** 3 if pixel_A else None,
        "pixel_A": pixel_A,
        "labels": {"volume_px": volume_px.tolist(), "border": border.tolist(), **local},
        "cuts": [
            {"labels": [int(one), int(two)], "neck_px": float(saddle), "ratio": float(ratio)}
            for (one, two), saddle, ratio in zip(
                found.cuts.labels, found.cuts.saddle_px, found.cuts.ratio, strict=True
            )
        ],
    }
