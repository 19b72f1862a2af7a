"""Measures of the labels of a volume, with errors."""

from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError, UsageError
from etcli.core.lengths import Length
from etcli.core.measurement.label_shapes import SLAB_VOXELS, Levels, Other
from etcli.core.measurement.label_sums import EVERYWHERE, LabelSums, Mask, as_labels, label_sums
from etcli.core.measurement.measures import Measures, measure_labels
from etcli.core.measurement.uncertainty import surface_shift_px
from etcli.core.measurement.wedge import SIGNIFICANT, crowding
from etcli.core.segmentation.local_levels import core_levels, local_levels
from etcli.core.series import TiltSeries, Volume
from etcli.core.volume_overlap import frame_offset_px, have_same_voxels
from etcli.io.segmentation_step import global_threshold_of
from etcli.pipeline.inputs import file_named_in_errors, load_images
from etcli.pipeline.label_densities import label_densities
from etcli.pipeline.measure_checks import check_halves, check_labels, check_order, check_place
from etcli.pipeline.measured import Measured
from etcli.pipeline.pore_measures import Solid, check_envelope, measure_pores, warn_of_open_pores
from etcli.pipeline.pore_request import NO_PORES, PoreRequest
from etcli.pipeline.segmentation import Segmentation
from etcli.pipeline.session import Session
from etcli.pipeline.volume_origin import VolumeOrigin, volume_origin

COPIES = 6
"""Arrays of the size of the volume that the work needs, with as many again as there are half-sets."""
TRIANGLE_COPIES = 38
"""Arrays of the size of a slab of a label for its triangles."""
LEAST_REACH_DEG = 60.0
"""Tilt below which methods without a prior are wrong by more than anything tells."""
SAME_PLACE_PX = 0.5
FEW = 0.01
"""Part of the volume of all labels up to which doubtful ones are flagged in the table only."""
BETWEEN = (0.1, 0.9)
"""Place of a threshold from the level around a label to that of its core, where it can be the label's."""


@dataclass(frozen=True)
class MeasureInputs:
    """What is measured, and what helps.

    Parameters
    ----------
    volume, labels : Volume
        Grey levels, and whole numbers of the same shape, 0 the background.
    halves : (Volume, Volume), optional
        The same from the odd and from the even views.
    series : TiltSeries, optional
        The views of the volume.
    region : Volume, optional
        Mask, above 0 where is measured.
    pore_request : PoreRequest
        What is measured of pores and networks.
    """

    volume: Volume
    labels: Volume
    halves: tuple[Volume, Volume] | None = None
    series: TiltSeries | None = None
    region: Volume | None = None
    pore_request: PoreRequest = NO_PORES


def measure(
    volume: Volume | NDArray[Any],
    labels: Volume | Segmentation | NDArray[Any],
    *,
    halves: tuple[Volume | NDArray[Any], Volume | NDArray[Any]] | None = None,
    series: TiltSeries | None = None,
    region: Volume | NDArray[Any] | None = None,
    pores: bool = False,
    envelope: Length | str | float | None = None,
    thickness: bool = False,
    tortuosity: str | None = None,
    session: Session | None = None,
) -> Measured:
    """Measure the labels of a volume: sizes, surfaces, axes, places, densities, and how sure they are.

    Parameters
    ----------
    volume : Volume or ndarray of shape (nz, ny, nx)
        Grey levels.
    labels : Volume, Segmentation or ndarray of shape (nz, ny, nx)
        Whole numbers, 0 the background; of `etcli.segment` or any program.
    halves : (Volume, Volume), optional
        The volume from the odd and from the even views, for the errors that noise makes.
    series : TiltSeries, optional
        Views of the volume, for densities that explain them.
    region : Volume or ndarray of shape (nz, ny, nx), optional
        Mask: only what is above 0 is measured.
    pores : bool, optional
        Measure pores, and the labels as a network.
    envelope : Length, str or float, optional
        Radius of the ball that closes the mouths of open pores, in pixels or with a unit: ``"12nm"``.
    thickness : bool, optional
        Measure the local thickness of labels and pores.
    tortuosity : {"z", "y", "x"}, optional
        Axis along which the tortuosity of labels and pores is computed.
    session : Session, optional
        Memory and reporter; `Session()` by default.

    Returns
    -------
    Measured
        With ``columns``, arrays with a value for each label, and ``totals``; ``pore_columns``, and the map
        ``thickness`` in nm or px, where they were asked for.

    Raises
    ------
    DataError
        When labels are no whole numbers or there are none, the files do not fit, or the volume is constant.
    UsageError
        When they do not fit into the memory.

    Examples
    --------
    >>> import numpy as np, etcli
    >>> z, y, x = np.mgrid[-10:11, -10:11, -10:11]
    >>> ball = np.clip(6.5 - np.sqrt(z**2 + y**2 + x**2), 0, 1).astype(np.float32)
    >>> volume = etcli.Volume(ball, pixel_A=10)
    >>> found = etcli.measure(volume, (ball > 0.5).astype(np.uint16))
    >>> round(float(found.columns["eq_diameter_nm"][0]), 1)
    12.0
    """
    session = session or Session()
    volume = _as_volume(volume, "volume")
    labels = labels.labels if isinstance(labels, Segmentation) else labels
    if halves is not None and len(halves) != 2:
        raise UsageError(
            f"halves must be two volumes, of the odd and of the even views, but are {len(halves)}"
        )
    ball = None if envelope is None else Length.parse(envelope, "px")
    request = PoreRequest(pores, ball, thickness, tortuosity)

    def beside(other: Volume | NDArray[Any], name: str) -> Volume:
        """Return a volume; an array lies where the volume lies."""
        if isinstance(other, Volume):
            return other
        return replace(volume, data=_as_volume(other, name).data, name=name, history=())

    return measure_inputs(
        session,
        MeasureInputs(
            volume,
            beside(labels, "labels"),
            None if halves is None else (beside(halves[0], "odd half"), beside(halves[1], "even half")),
            series,
            None if region is None else beside(region, "region"),
            request,
        ),
    )


def measure_inputs(session: Session, inputs: MeasureInputs) -> Measured:
    """Measure labels; see `measure`."""
    inputs.pore_request.check()
    volume, labels, region = inputs.volume.upright(), inputs.labels.upright(), inputs.region
    check_envelope(session, inputs.pore_request, volume)
    for other in (labels, *(inputs.halves or ()), *([region] if region else ())):
        check_fits(other.upright(), volume)
    check_order(volume, labels)
    halves = [half.upright() for half in inputs.halves or ()]
    slabs = ceil(TRIANGLE_COPIES * min(1.0, SLAB_VOXELS / np.prod(volume.shape)))
    grey = load_images(session, volume, copies=COPIES + slabs + len(halves) + inputs.pore_request.copies)
    if grey.min() == grey.max():
        raise DataError(f"{volume.name}: all voxels are {grey.flat[0]:g}, so nothing can be measured in it")
    mask = EVERYWHERE if region is None else read_region(session, region.upright())
    sums = read_labels(labels, mask)
    if not volume.pixel_A:
        session.reporter.warn(f"{volume.name}: no pixel size; lengths are in px")
    levels = label_levels(session, grey, sums, labels)
    grey_halves = [load_images(session, half, copies=1) for half in halves]
    check_halves(session, volume, halves, [grey, *grey_halves])
    plateaus = core_levels(grey_halves, sums.numbers, threads=session.threads) if grey_halves else []
    others = [Other(half, plateau[1:]) for half, plateau in zip(grey_halves, plateaus, strict=True)]
    origin = _origin(inputs)
    measures = measure_labels(
        grey,
        sums,
        levels,
        region=mask,
        halves=others,
        shift_px=surface_shift_px(origin.residual_px),
        track=lambda shapes: session.track(shapes, len(sums), "measuring"),
    )
    check_place(volume, labels, measures)
    density = None
    if inputs.series is not None:
        density = label_densities(session, sums, grey, volume, inputs.series, origin)
    pore_measures = None
    if inputs.pore_request:
        solid = Solid(grey, sums, levels, mask, grey_halves, measures.shift_px, volume.pixel_A)
        pore_measures = measure_pores(session, inputs.pore_request, solid)
        warn_of_open_pores(session, pore_measures, origin)
    return Measured(
        measures,
        origin,
        volume.pixel_A,
        _middle_px(volume),
        float(mask.sum() if mask.size else grey.size),
        sigma_known=_trusted(session, volume, origin, measures),
        density_lsq=density,
        pore_measures=pore_measures,
    )


def check_fits(other: Volume, volume: Volume) -> None:
    """Check that a volume has the voxels of the measured one; raise DataError otherwise."""
    sizes = [" x ".join(map(str, each.shape[::-1])) for each in (other, volume)]
    if other.shape != volume.shape:
        raise DataError(
            f"{other.name}: {sizes[0]} voxels, but {volume.name} has {sizes[1]}; give files of one volume"
        )
    if not have_same_voxels(other, volume):
        raise DataError(
            f"{other.name}: voxels of {other.pixel_A:g} Å, but those of {volume.name} are {volume.pixel_A:g} "
            "Å; give files of one volume"
        )
    offset_px = frame_offset_px(other, volume)
    if offset_px is not None and np.abs(offset_px).max() > SAME_PLACE_PX:
        x, y, z = (round(float(at), 2) + 0.0 for at in offset_px[::-1])
        raise DataError(
            f"{other.name}: lies {x:g}, {y:g}, {z:g} voxels (x, y, z) from {volume.name}; give files of "
            "one volume"
        )


def read_region(session: Session, region: Volume) -> Mask:
    """Read a mask; raise DataError for an empty one."""
    mask = load_images(session, region, copies=1) > 0
    if not mask.any():
        raise DataError(
            f"{region.name}: no voxel is above 0, so nothing would be measured; give another --roi"
        )
    return mask


def read_labels(labels: Volume, region: Mask) -> LabelSums:
    """Read and add up labels; raise DataError where there are none."""
    with file_named_in_errors(labels):
        sums = label_sums(as_labels(labels.images()), region)
    if len(sums):
        check_labels(labels, sums.numbers, sums.count)
    else:
        where = " in the region" if region.size else ""
        raise DataError(f"{labels.name}: no label above 0{where}, so there is nothing to measure")
    return sums


def label_levels(session: Session, grey: NDArray[np.float32], sums: LabelSums, labels: Volume) -> Levels:
    """Return the grey levels of each label: the threshold of all that its history tells, or half way.

    A threshold that is hardly between the levels of a label is that of another volume, or of other bodies.
    """
    found = local_levels(grey, sums.numbers, threads=session.threads)
    background, plateau, threshold = found.background[1:], found.plateau[1:], found.threshold[1:]
    common = global_threshold_of(labels.history)
    if common is None:
        return Levels(background, plateau, threshold)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (common - background) / (plateau - background)
    foreign = ~((share >= BETWEEN[0]) & (share <= BETWEEN[1]))
    if sums.count[foreign].sum() > FEW * sums.count.sum():
        session.reporter.warn(
            f"{labels.name}: the threshold {common:g} of its history is not between the grey levels in and "
            f"around {foreign.sum()} of {len(sums)} labels; their surfaces are half way between those"
        )
    else:  # specks of noise barely above it
        foreign[:] = False
    if not foreign.all():
        session.reporter.note(f"{labels.name}: surfaces at the threshold {common:g} of its history")
    return Levels(background, plateau, np.where(foreign, threshold, common))


def _origin(inputs: MeasureInputs) -> VolumeOrigin:
    """Return how the volume was made; the views tell the tilt angles where its history does not."""
    origin = volume_origin(inputs.volume.history)
    if inputs.series is None or not inputs.series.has_tilts:
        return origin
    if inputs.series.views.euler_deg is not None:
        return replace(origin, range_deg=None)
    tilt_deg = inputs.series.tilt_deg
    return replace(origin, range_deg=(float(tilt_deg.min()), float(tilt_deg.max())))


def _trusted(session: Session, volume: Volume, origin: VolumeOrigin, measures: Measures) -> bool:
    """Warn of what makes errors wrong; return whether those of volumes can be told."""
    off, far = (_many(measures, it) for it in (measures.is_off_level, measures.is_far_level))
    if off:
        session.reporter.warn(
            f"{off} of {len(measures)} labels do not end at their threshold, so that the errors of volumes "
            "are widened to the volumes at half of their contrast; labels by segment do"
        )
    if far:
        session.reporter.warn(
            f"{far} of {len(measures)} labels end far from half of their own contrast, as one threshold for "
            "bodies of different densities makes them: volumes of light ones are too small and of dense ones "
            "too large; their errors are widened; segment without --global gives each its own"
        )
    if not origin.method or origin.has_prior:
        return True
    crowd = crowding(measures.axes.direction[measures.whole])
    if crowd is not None and crowd > SIGNIFICANT:
        session.reporter.warn(
            f"{volume.name}: the long axes crowd about z, as the missing wedge makes them; reconstruct with "
            "--method fista, or with --mask of the labels"
        )
    if origin.range_deg is None or (origin.least_side_deg or 0.0) >= LEAST_REACH_DEG:
        return True
    low, high = origin.range_deg
    session.reporter.warn(
        f"{volume.name}: tilted from {low:g} to {high:g}° only, where volumes by {origin.method} can be half "
        "too large; their errors are left blank; reconstruct with --method fista"
    )
    return False


def _many(measures: Measures, doubtful: Mask) -> int:
    """Return how many labels are doubtful; 0 where they are specks, as noise makes them beside networks."""
    part = measures.volume[doubtful].sum() / measures.volume.sum()
    return int(doubtful.sum()) if part > FEW else 0


def _middle_px(volume: Volume) -> tuple[float, float, float]:
    """Return the middle (x, y, z) of the volume from the rotation centre in voxels; 0 where unknown."""
    middle_A = volume.middle_A
    if middle_A is None or not volume.pixel_A:
        return 0.0, 0.0, 0.0
    x, y, z = (length / volume.pixel_A for length in middle_A)
    return x, y, z


def _as_volume(volume: Volume | NDArray[Any], name: str) -> Volume:
    if isinstance(volume, Volume):
        return volume
    values = np.asarray(volume)
    if values.ndim != 3 or values.dtype.kind not in "biuf":
        raise UsageError(f"the {name} must be a Volume or an array of numbers of shape (nz, ny, nx)")
    return Volume(values, name=name)
