"""What a joint reconstruction of elements chose and why, how far to trust it, and what memory it takes."""

from math import ceil, cos, tan
from typing import Any

import numpy as np

from etcli.core.arguments import listed
from etcli.core.errors import UsageError
from etcli.core.fusion.automatic import Choice, Fused
from etcli.core.fusion.element_maps import ElementMaps
from etcli.core.fusion.held_out import EVIDENT
from etcli.core.fusion.scales import half_above
from etcli.core.fusion.slab_views import slab_width
from etcli.core.geometry import SliceGeometry
from etcli.pipeline.fuse_inputs import FusionInputs, is_interpolated
from etcli.pipeline.session import Session

ARRAYS_A_VOXEL = 11
"""Three volumes of the solver and three of the gradient, their copies as results, and earlier fits."""
OF_HAADF = 6
"""What HAADF shows of all channels, and the fits between which it is judged."""
ARRAYS_A_PIXEL = 7
"""A map, its two parts, the same as slabs, and the dual variable."""
STEEPEST_RAD = 1.4
"""Tilt up to which a volume can be wide enough for a film."""
UNEVEN = 0.1
"""Deviation of the gain of a view from the mean that the user should know of."""

CAUSES = "check its alignment with the maps, saturation, and elements without a map"
"""Why HAADF may contradict the counts."""


def check_memory(session: Session, inputs: FusionInputs, geometry: SliceGeometry) -> None:
    """Check that the work fits into the memory; raise UsageError otherwise."""
    need = memory_needed(inputs, geometry, session.threads)
    if need > session.memory:
        raise UsageError(
            f"the work takes {ceil(need / (1 << 20))}M of memory, but only {session.memory >> 20}M are "
            "allowed; allow more, make the volume thinner, or bin the maps"
        )


def memory_needed(inputs: FusionInputs, geometry: SliceGeometry, threads: int) -> int:
    """Return the bytes that the work takes at most, the series themselves included."""
    n, (n_views, ny, nx) = len(inputs.maps), inputs.first.shape
    width = slab_width(ny, n, threads)
    rows = width * ceil(ny / width)
    arrays, pixels = n * ARRAYS_A_VOXEL, ARRAYS_A_PIXEL * n * n_views
    if inputs.haadf is not None:
        arrays += ARRAYS_A_VOXEL + OF_HAADF
        pixels += ARRAYS_A_PIXEL * len(inputs.haadf)
    if any(map(is_interpolated, inputs.maps.values())):
        arrays += n + 1
    return 4 * rows * (arrays * geometry.thickness * geometry.width + pixels * nx)


def report_fusion(session: Session, maps: ElementMaps, fused: Fused) -> None:
    """Report the counts, the tie to HAADF, the priors, gains, and what is uncertain."""
    choice, say = fused.choice, session.reporter
    for c, name in enumerate(maps.names):
        prior = "tv" if choice.minor[c] else choice.setting.prior
        dense = half_above(fused.counts[c])
        say.report(
            f"{name}: {maps.sums[c]:.0f} counts, {dense:.3g} a voxel where it is dense; "
            f"{prior} of weight {choice.setting.weights[c]:.3g}"
        )
    words = _tie_words(maps, fused)
    if maps.haadf is not None and choice.haadf_use != "tie":
        say.warn(words.pop())
    if choice.n_clipped:
        say.warn(
            f"HAADF is clipped at its largest value in {choice.n_clipped} of {len(maps.haadf_views)} views; "
            "record it with less gain, or leave it out"
        )
    if choice.has_rest and choice.better_nats["tie"] < -EVIDENT * choice.chance_nats["tie"]:
        say.warn("HAADF shows more than the maps explain: is an element without a map in the specimen?")
    for text in (*words, *_prior_words(maps, fused), *_gain_words(fused)):
        say.report(text)
    if choice.setting.tie and not choice.is_tie_evident:
        say.warn("the counts are too few to tell whether HAADF fits them; check its alignment with the maps")
    if maps.fills_views:
        say.warn(_beyond_words(maps))
    few = [name for name, is_minor in zip(maps.names, choice.minor, strict=True) if is_minor]
    if few:
        say.warn(
            f"{listed(few)}: less than 5 % of the counts, by a prior of its own; trust where there is "
            "much of it, but neither its edges nor traces of it"
        )


def report_k_factors(session: Session, source: str) -> None:
    """Warn of fractions that rest on no standards."""
    if source == "mdoc":
        session.reporter.warn(
            "fractions are standardless, by the sensitivities in the mdocs; give --k-factors"
        )
    elif source == "none":
        session.reporter.warn(
            "fractions are of counts, as if all elements were equally sensitive; give --k-factors for atoms"
        )


def fusion_numbers(maps: ElementMaps, fused: Fused, pixel_A: float | None) -> dict[str, Any]:
    """Return what was found as plain values.

    Parameters
    ----------
    maps : ElementMaps
    fused : Fused
    pixel_A : float or None

    Returns
    -------
    dict
        By element ``counts``, ``counts_per_voxel`` that voxels with half of them exceed, ``weight``,
        ``prior``, ``minor`` and ``count_factor``; ``gains`` of the views; ``haadf``: its ``use`` as "tie",
        "channel" or "none", whether the tie is ``kept``, and its signal; ``rest``; ``better_nats`` with the
        standard errors ``chance_nats``; and the ``curves`` of held-out deviance.
    """
    choice = fused.choice
    setting, fit = choice.setting, choice.haadf
    elements = {
        name: {
            "counts": float(maps.sums[c]),
            "counts_per_voxel": half_above(fused.counts[c]),
            "prior": "tv" if choice.minor[c] else setting.prior,
            "weight": float(setting.weights[c]),
            "minor": choice.minor[c],
            "count_factor": float(fused.count_factors[c]),
        }
        for c, name in enumerate(maps.names)
    }
    haadf = fit and {
        "use": choice.haadf_use,
        "clipped_views": choice.n_clipped,
        "kept": choice.haadf_use == "tie",
        "tie": setting.tie.strength if setting.tie else None,
        "noise": fit.noise,
        "common_views": fit.n_common,
        "levels": fit.levels.tolist(),
        "signal_per_count": dict(zip(maps.names, (fit.weights / choice.scales).tolist(), strict=True)),
        "shares": dict(zip(maps.names, fit.shares.tolist(), strict=True)),
    }
    return {
        "elements": elements,
        "size": list(fused.counts.shape[:0:-1]),
        "pixel_A": pixel_A,
        "n_views": maps.geometry.n_views,
        "gains": choice.problem.gains.tolist(),
        "haadf": haadf,
        "rest": choice.has_rest,
        "better_nats": choice.better_nats,
        "chance_nats": choice.chance_nats,
        "curves": [
            {"name": each.name, "tried": each.tried, "deviance": each.deviance, "best": each.best}
            for each in choice.curves
        ],
    }


def _tie_words(maps: ElementMaps, fused: Fused) -> list[str]:
    """Say whether HAADF helps, what it shows of the elements, and what has no map."""
    choice = fused.choice
    fit = choice.haadf
    if fit is None:
        return []
    predicted = f"held-out counts are predicted {_nats(choice, 'tie')} with it"
    if choice.haadf_use == "channel":
        edges = f"its edges are, in the joint prior: {_nats(choice, 'channel')}"
        return [f"HAADF is not used as the sum of the elements: {predicted}; but {edges}; {CAUSES}"]
    if choice.setting.tie is None:
        return [f"HAADF is not used: {predicted}; {CAUSES}"]
    of_each = ", ".join(
        f"{name} {weight / scale:.3g} ({share:.0%})"
        for name, weight, scale, share in zip(maps.names, fit.weights, choice.scales, fit.shares, strict=True)
        if weight
    )
    words = [
        f"HAADF is used, weight {choice.setting.tie.strength:g}: {predicted}; its signal per count, and "
        f"share: {of_each}; from {fit.n_common} common views"
    ]
    if "rest" not in choice.better_nats:
        return words
    found = f"({_nats(choice, 'rest')} with it)"
    if choice.has_rest:
        return [*words, f"HAADF shows something without a map {found}, in a volume of its own, _rest"]
    return [*words, f"nothing without a map is needed {found}"]


def _nats(choice: Choice, what: str) -> str:
    """Say how much better or worse held-out counts are predicted, and its standard error."""
    better = choice.better_nats[what]
    return f"{abs(better):.0f} ± {choice.chance_nats[what]:.0f} nats {'better' if better > 0 else 'worse'}"


def _beyond_words(maps: ElementMaps) -> str:
    """Say what happens to a specimen that goes on beyond the views."""
    geometry = maps.geometry
    steepest = min(float(np.deg2rad(np.abs(geometry.tilt_deg).max())), STEEPEST_RAD)
    whole = geometry.n_detector / cos(steepest) + geometry.thickness * tan(steepest)
    words = (
        "the specimen goes on beyond the views, which when tilted show parts of it outside the volume; give "
        f"a larger --width, up to {whole:.0f}px"
    )
    return words if maps.haadf is not None else f"{words}, and --haadf, by which gains of views are found"


def _prior_words(maps: ElementMaps, fused: Fused) -> list[str]:
    """Say by how much the joint prior helps, where it was tried."""
    better = fused.choice.better_nats.get("tnv")
    if better is None:
        return []
    major = [name for name, few in zip(maps.names, fused.choice.minor, strict=True) if not few]
    used = "is used" if fused.choice.setting.prior == "tnv" else "is not used"
    word = "better" if better > 0 else "worse"
    return [
        f"the joint prior of {listed(major)} {used}: {abs(better):.0f} nats {word} than one of each element"
    ]


def _gain_words(fused: Fused) -> list[str]:
    """Say which views are shadowed, or brighter than others."""
    gains = fused.choice.problem.gains
    tilt_deg = fused.choice.problem.views.geometry.tilt_deg
    uneven = [
        f"{tilt:.3g}° {gain:.2f}"
        for tilt, gain in zip(tilt_deg, gains, strict=True)
        if abs(gain - 1) > UNEVEN
    ]
    spread = f"gains of the views from {gains.min():.2f} to {gains.max():.2f}"
    return [f"{spread}: {', '.join(uneven)}" if uneven else spread]
