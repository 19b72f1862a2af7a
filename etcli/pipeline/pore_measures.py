"""Measures of pores and networks: the work."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.measurement.chords import mean_chords
from etcli.core.measurement.connectivity import connectivity
from etcli.core.measurement.label_shapes import Levels, Other
from etcli.core.measurement.label_sums import EVERYWHERE, LabelSums, Mask, label_sums
from etcli.core.measurement.local_thickness import local_thickness
from etcli.core.measurement.measures import Measures, measure_labels
from etcli.core.measurement.pores import Pores, changed_kind, find_pores, solid_at
from etcli.core.measurement.tortuosity import tortuosity
from etcli.core.segmentation.local_levels import core_levels
from etcli.core.segmentation.pieces import holes_of
from etcli.core.series import Volume
from etcli.pipeline.pore_request import AXES, PoreRequest
from etcli.pipeline.pore_result import Network, PoreMeasures, PoreResult, Thickness
from etcli.pipeline.session import Session
from etcli.pipeline.volume_origin import VolumeOrigin

Array = NDArray[np.float32]

BYTES_AROUND = 8
"""Memory a voxel of the volume and the margin in which the envelope is closed: distances and masks."""
SHARE = 0.05
"""Change of the threshold, relative to the contrast, after which the kinds of pores are looked at again."""


@dataclass(frozen=True, eq=False)
class Solid:
    """Labels that are looked at as one solid.

    Parameters
    ----------
    grey : ndarray of shape (nz, ny, nx), float32
    sums : LabelSums
    levels : Levels
    region : ndarray of shape (nz, ny, nx), bool
        Where is measured; `EVERYWHERE` by default.
    halves : sequence of ndarray of shape (nz, ny, nx), float32
        None, or the volumes of the odd and the even views.
    shift_px : float
        Standard deviation of the place of surfaces.
    pixel_A : float or None
        Size of a voxel.
    """

    grey: Array
    sums: LabelSums
    levels: Levels
    region: Mask
    halves: Sequence[Array]
    shift_px: float
    pixel_A: float | None

    @property
    def mask(self) -> Mask:
        """All labels."""
        return np.asarray(self.sums.numbers > 0)

    @property
    def largest(self) -> int:
        """Row of the largest label, whose grey levels are those of the solid."""
        return int(np.argmax(self.sums.count))

    @property
    def is_dark(self) -> bool:
        """Whether the solid is darker than what is around it."""
        return bool(self.levels.plateau[self.largest] < self.levels.background[self.largest])

    def inverted(self) -> "Solid":
        """Return the solid in the inverted volume."""
        return replace(
            self,
            grey=-self.grey,
            levels=Levels(*(-level for level in self.levels)),
            halves=[-half for half in self.halves],
        )

    def within(self, mask: Mask) -> Mask:
        """Return the part of a mask that is in the region."""
        return mask if self.region is EVERYWHERE else mask & self.region


def check_envelope(session: Session, request: PoreRequest, volume: Volume) -> None:
    """Check the radius of the ball that closes pores against the volume and the memory; raise UsageError."""
    if request.envelope is None:
        return
    radius_px = request.envelope.px(volume.pixel_A)
    given = f"--envelope {request.envelope.value:g}{request.envelope.unit}"
    if 2 * radius_px > max(volume.shape):
        sizes = " x ".join(map(str, volume.shape[::-1]))
        unit = "" if volume.pixel_A else ", and no pixel size is known"
        raise UsageError(
            f"{given}: a ball of {radius_px:.4g} voxels radius is larger than {volume.name}, {sizes} voxels"
            f"{unit}; give twice the radius of the mouths of pores, such as 8px or 12nm"
        )
    around = np.prod([n + 2 * (ceil(radius_px) + 1) for n in volume.shape], dtype=float)
    need = int(BYTES_AROUND * around) + 4 * request.copies * int(np.prod(volume.shape))
    if need > session.memory:
        raise UsageError(
            f"{given}: {volume.name} with a margin of that width takes {-(-need >> 20)}M of memory, but only "
            f"{session.memory >> 20}M are allowed; give a larger --memory, or a smaller --envelope"
        )


def measure_pores(session: Session, request: PoreRequest, solid: Solid) -> PoreMeasures:
    """Measure the pores of labels, and the labels as a network.

    Parameters
    ----------
    session : Session
    request : PoreRequest
    solid : Solid

    Returns
    -------
    PoreMeasures
        Lengths in voxels.
    """
    is_dark = solid.is_dark
    if is_dark:
        solid = solid.inverted()
    radius_px = None if request.envelope is None else request.envelope.px(solid.pixel_A)
    if request.pores and radius_px is None:
        session.reporter.warn(
            "without --envelope open pores are left blank; give the radius of a ball that closes their "
            "mouths, at least twice theirs"
        )
    pores = None
    if request.pores or request.thickness:
        session.reporter.note("looking for pores")
        pores = find_pores(
            solid.grey,
            solid.mask,
            float(solid.levels.threshold[solid.largest]),
            float(solid.levels.plateau[solid.largest]),
            envelope_px=radius_px,
            threads=session.threads,
        )
    space = None if pores is None else _pore_space(solid, pores)
    return PoreMeasures(
        pores=_pores(session, solid, pores, is_dark) if request.pores and pores is not None else None,
        network=_network(solid, space) if request.pores and space is not None else None,
        thickness=_thickness(session, solid, pores, space)
        if request.thickness and pores is not None and space is not None
        else None,
        axis=request.tortuosity,
        tortuosity=_tortuosity(session, solid, request.tortuosity, pores.envelope if pores else None)
        if request.tortuosity
        else {},
    )


def warn_of_open_pores(session: Session, found: PoreMeasures, origin: VolumeOrigin) -> None:
    """Warn of open pores in a volume whose method lets the missing wedge cut notches into the solid."""
    if found.pores and found.pores.is_open.any() and origin.method and not origin.has_prior:
        session.reporter.warn(
            f"in volumes by {origin.method} the missing wedge makes open pores, thin ones at the ends of the "
            "solid along z, so the error of the open porosity is left blank; reconstruct with --method fista"
        )


def _pore_space(solid: Solid, pores: Pores) -> Mask:
    """Return what is no solid in the envelope or in the region; without both, the closed pores."""
    if pores.envelope is not None:
        return solid.within(pores.envelope & ~solid.mask)
    return solid.within(~solid.mask) if solid.region is not EVERYWHERE else pores.labels > 0


def _pores(session: Session, solid: Solid, pores: Pores, is_dark: bool) -> PoreResult:
    """Measure each pore as a label of the inverted volume, and find out how sure its kind is."""
    region = solid.region if pores.envelope is None else solid.within(pores.envelope)
    sums = label_sums(pores.labels, region)
    rows = sums.label - 1
    inverted, halves = -solid.grey, [-half for half in solid.halves]
    plateaus = core_levels(halves, sums.numbers, threads=session.threads) if halves else []
    measures: Measures = measure_labels(
        inverted,
        sums,
        Levels(-pores.around[rows], -pores.core[rows], -pores.threshold[rows]),
        region=region,
        halves=[Other(half, plateau[1:]) for half, plateau in zip(halves, plateaus, strict=True)],
        shift_px=solid.shift_px,
        track=lambda shapes: session.track(shapes, len(sums), "measuring pores"),
    )
    threshold, contrast = solid.levels.threshold, solid.levels.plateau - solid.levels.background
    changes = [
        changed_kind(
            pores,
            solid_at(solid.grey, solid.sums.numbers, threshold, contrast, share, threads=session.threads),
            threads=session.threads,
        )[rows]
        for share in (-SHARE, SHARE)
    ]
    open_px = np.nan
    if pores.envelope is not None:
        open_px = float(np.count_nonzero(region & ~solid.mask & ~holes_of(solid.mask)))
    return PoreResult(
        measures=measures,
        is_inverted=not is_dark,
        is_open=pores.is_open[rows],
        closes=changes[0],
        opens=changes[1],
        n_small=pores.n_small,
        solid_px=float(np.count_nonzero(solid.within(solid.mask))),
        open_px=open_px,
        envelope_px=np.nan if pores.envelope is None else float(np.count_nonzero(region)),
        region_px=float(np.count_nonzero(solid.region)) if solid.region is not EVERYWHERE else np.nan,
    )


def _network(solid: Solid, space: Mask) -> Network:
    """Count the pieces and loops of the solid, and measure the chords of solid and pores."""
    region = None if solid.region is EVERYWHERE else solid.region
    return Network(
        connectivity(solid.within(solid.mask)), mean_chords(solid.mask, region), mean_chords(space, region)
    )


def _thickness(session: Session, solid: Solid, pores: Pores, space: Mask) -> Thickness:
    """Measure the local thickness of the solid and of the pores."""
    session.reporter.note("measuring the local thickness")
    numbers, threshold = solid.sums.numbers, solid.levels.threshold
    levels = np.concatenate([[0], np.where(np.isnan(threshold), np.nanmean(threshold), threshold)])
    body = local_thickness(solid.grey, numbers, levels, solid.mask, threads=session.threads)
    if solid.region is not EVERYWHERE and pores.envelope is None:
        holes = local_thickness(solid.grey, numbers, levels, space, threads=session.threads)
        kind = "all space"
    else:
        space = pores.labels > 0
        kind = "closed" if pores.envelope is None else "closed and open"
        own = np.concatenate([[0], -pores.threshold])
        holes = local_thickness(-solid.grey, pores.labels, own, space, threads=session.threads)
    is_solid, is_pore = solid.within(solid.mask), solid.within(space) & ~solid.mask
    values = np.where(is_solid, body, np.where(is_pore, holes, np.float32(0)))
    return Thickness(values, is_solid, is_pore, kind)


def _tortuosity(session: Session, solid: Solid, axis: str, envelope: Mask | None) -> dict[str, float | None]:
    """Compute the tortuosity of the solid, and of the pores where an envelope or a region bounds them.

    None for pores without bounds: a path through the surroundings of the solid is no path through its pores.
    """
    session.reporter.note(f"solving for the tortuosity along {axis}")
    region = None if solid.region is EVERYWHERE else solid.region
    bodies: list[tuple[str, Mask, Mask | None]] = [("solid", solid.mask, region)]
    if envelope is not None:
        region = solid.within(envelope)
    if region is None:
        session.reporter.warn(
            "the tortuosity of the pores is left blank, as paths around the solid would count; give --pores "
            "with --envelope, or --roi, to say where pores end"
        )
    else:
        bodies.append(("pores", ~solid.mask, region))
    found: dict[str, float | None] = {"solid": None, "pores": None}
    for name, mask, where in bodies:
        found[name] = value = float(tortuosity(mask, AXES.index(axis), where, threads=session.threads))
        if not np.isfinite(value):
            session.reporter.warn(
                f"no path of the {name} joins both ends along {axis}, so the tortuosity is infinite and left "
                "blank"
            )
    return found
