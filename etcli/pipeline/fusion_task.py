"""Joint reconstruction of elements: checks, automatic choices, the work, and what it says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.arguments import check_choice
from etcli.core.fusion.automatic import Fused, choose, fuse_all, most_iterations
from etcli.core.fusion.element_maps import ElementMaps
from etcli.core.fusion.fractions import atomic_fractions
from etcli.core.fusion.parts import LeftOutViews, Parts, ThinnedCounts, thinned
from etcli.core.fusion.slab_views import LINEAR
from etcli.core.geometry import SliceGeometry
from etcli.core.lengths import Length
from etcli.core.reconstruction.line_integrals import LineIntegrals
from etcli.core.series import TiltSeries
from etcli.io.element_map import ElementMap
from etcli.io.writers import ProcessingStep
from etcli.pipeline.empty_maps import without_empty
from etcli.pipeline.fuse_inputs import (
    FusionInputs,
    check_fractional,
    checked_counts,
    is_interpolated,
)
from etcli.pipeline.fuse_report import check_memory, fusion_numbers, report_fusion
from etcli.pipeline.inputs import load_images
from etcli.pipeline.k_factors import k_factors_of
from etcli.pipeline.parts_beside import are_whole, check_parts
from etcli.pipeline.session import Session, with_one_blas_thread
from etcli.pipeline.volume_geometry import slice_geometry, with_specimen_thickness
from etcli.pipeline.volume_output import VolumeLayout

Array = NDArray[np.float32]

AUTO = "auto"
PRIORS = (AUTO, "tv", "tnv")


@dataclass(frozen=True)
class FusionRequest:
    """Options of a joint reconstruction, named as those of ``etcli fuse``.

    Parameters
    ----------
    prior : {"auto", "tv", "tnv"}
        Prior of the elements that are not minor.
    thickness, width : Length, "auto" or None
        Extent along z and x; the width of a view by default.
    """

    prior: str = AUTO
    thickness: Length | str | None = None
    width: Length | None = None


@dataclass(frozen=True, eq=False)
class Fusion:
    """A finished joint reconstruction, before its volumes are written.

    Parameters
    ----------
    inputs : FusionInputs
    maps : ElementMaps
    geometry : SliceGeometry
        Of the maps and the volumes.
    fused : Fused
    k_factors : list of float
        Atoms per count.
    k_source : {"given", "mdoc", "none"}
        Where they come from.
    """

    inputs: FusionInputs
    maps: ElementMaps
    geometry: SliceGeometry
    fused: Fused
    k_factors: list[float]
    k_source: str

    @property
    def numbers(self) -> dict[str, Any]:
        """The numbers of the run, for ``--json``."""
        found = fusion_numbers(self.maps, self.fused, self.inputs.first.pixel_A)
        return found | {
            "k_factors": dict(zip(self.maps.names, self.k_factors, strict=True)),
            "k_source": self.k_source,
        }

    def fractions(self) -> Array:
        """Compute the atomic fractions, an array (n_elements, z, y, x)."""
        return atomic_fractions(self.fused.counts, self.k_factors, self.fused.choice.scales)

    def layout(self, name: str, what: str) -> VolumeLayout:
        """Return the layout of the volume of an element, or of what has no map, and what its values are."""
        series = self.inputs.maps.get(name, self.inputs.first)
        shows = ElementMap(values=what)
        if name in self.inputs.maps:
            shows = replace(shows, element=name, line=ElementMap.of(series.description).line)
        return VolumeLayout(series, self.geometry, (0, series.shape[1]), shows=shows)

    def step(self, name: str, what: str) -> ProcessingStep:
        """Return the processing step of a volume, for its history."""
        choice = self.fused.choice
        tie = choice.setting.tie
        words = [name, what, f"{self.geometry.n_views} views"]
        if name in self.maps.names:
            c = self.maps.names.index(name)
            prior = "tv" if choice.minor[c] else choice.setting.prior
            words.append(f"{prior} {choice.setting.weights[c]:.3g}")
        if choice.setting.channel:
            words.append("HAADF in the joint prior")
        else:
            words.append(f"HAADF tie {tie.strength:g}" if tie else "no HAADF tie")
        others = [element for element in self.maps.names if element != name]
        words += [f"with {', '.join(others)}"] if others else []
        return ProcessingStep("fuse", ", ".join(words))


@with_one_blas_thread
def run_fusion(
    session: Session,
    inputs: FusionInputs,
    request: FusionRequest,
    *,
    k_factors: Mapping[str, float] | None = None,
) -> Fusion:
    """Check the inputs, choose all weights, and fit all counts; report what was chosen.

    Parameters
    ----------
    session : Session
    inputs : FusionInputs
    request : FusionRequest
    k_factors : mapping of str to float, optional
        Atoms per count of each element.

    Returns
    -------
    Fusion
    """
    check_choice("prior", request.prior, PRIORS)
    inputs.check()
    every, source = k_factors_of(inputs.maps, k_factors)
    by_name = dict(zip(inputs.maps, every, strict=True))
    inputs = without_empty(session, inputs)
    factors = [by_name[name] for name in inputs.maps]
    geometry, of_haadf = _geometries(session, inputs, request)
    check_memory(session, inputs, geometry)
    counts = {name: checked_counts(name, series) for name, series in inputs.maps.items()}
    if request.thickness == AUTO:
        sums = np.sum(list(counts.values()), axis=0)
        total = TiltSeries.of(sums, geometry.tilt_deg, name="sum of the maps", pixel_A=inputs.first.pixel_A)
        integrals = LineIntegrals(total, 0, total.shape[1])
        geometry = with_specimen_thickness(session, integrals, geometry, counts=True)
    maps = ElementMaps(
        tuple(counts),
        tuple(counts.values()),
        geometry,
        None if inputs.haadf is None else load_images(session, inputs.haadf, copies=1),
        of_haadf and replace(of_haadf, thickness=geometry.thickness),
        session.threads,
        LINEAR if any(map(is_interpolated, inputs.maps.values())) else 0.0,
    )
    parts = _parts(session, inputs, maps)
    most = most_iterations(maps)
    with session.reporter.progress(most, "fitting counts") as advance:
        done = [0]

        def tick(iterations: int) -> None:
            done[0] += iterations
            advance(iterations)

        choice = choose(maps, parts, tick, prior=request.prior)
        advance(max(most - done[0] - choice.iterations, 0))
        fused = fuse_all(maps, choice, tick)
    fusion = Fusion(inputs, maps, geometry, fused, factors, source)
    report_fusion(session, maps, fused)
    return fusion


def _geometries(
    session: Session, inputs: FusionInputs, request: FusionRequest
) -> tuple[SliceGeometry, SliceGeometry | None]:
    """Create the geometry of the slices for the views of the maps, and for those of HAADF."""

    def geometry_of(series: TiltSeries) -> SliceGeometry:
        return slice_geometry(
            session,
            series,
            thickness=request.thickness,
            width=request.width,
            axis_offset=None,
            z_offset=Length(0.0, "px"),
            least_squares=False,
        )

    own = geometry_of(inputs.first)
    if inputs.haadf is None:
        return own, None
    of_haadf = geometry_of(inputs.haadf)
    return own, replace(of_haadf, thickness=own.thickness, width=own.width)


def _parts(session: Session, inputs: FusionInputs, maps: ElementMaps) -> Parts:
    """Return the counts in two parts: those that are given, else divided here, else by views."""
    if inputs.parts:
        pairs = []
        for name, counts in zip(maps.names, maps.counts, strict=True):
            pair = [checked_counts(name, series) for series in inputs.parts[name]]
            check_parts(counts, pair, inputs.maps[name])
            pairs.append(pair)
        session.reporter.note("held-out counts are those of the parts beside the maps")
        return ThinnedCounts.of_parts(*zip(*pairs, strict=True))
    if all(
        are_whole(counts) and ElementMap.of(inputs.maps[name].description).may_be_raw
        for name, counts in zip(maps.names, maps.counts, strict=True)
    ):
        return thinned(maps.counts)
    for name, counts in zip(maps.names, maps.counts, strict=True):
        check_fractional(name, inputs.maps[name], counts)
    session.reporter.report(
        "the maps are no whole counts and have no parts beside them, so every sixth view is held out"
    )
    return LeftOutViews(maps.counts, maps.geometry.tilt_deg)
