"""Segmentation of a volume: labels of its bodies, in memory or from file to file."""

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import DataError, UsageError
from etcli.core.filters import gaussian
from etcli.core.lengths import Length
from etcli.core.segmentation.densities import two_densities
from etcli.core.segmentation.local_levels import LocalLevels
from etcli.core.segmentation.pieces import Mask, border_labels, voxel_counts
from etcli.core.segmentation.segment import (
    ONE_BODY,
    Found,
    LabelRules,
    are_separate_bodies,
    contrasts_of,
    count_fainter,
    cuts_between,
    find_labels,
    grown_mask,
    with_own_levels,
)
from etcli.core.segmentation.thresholds import global_threshold, histogram_of, hysteresis
from etcli.core.series import TiltSeries, Volume
from etcli.io.segmentation_step import segmentation_step
from etcli.io.writers import expect_images, volume_writer
from etcli.pipeline.inputs import file_named_in_errors, load_images, read_series, read_volume_only
from etcli.pipeline.measure import check_fits
from etcli.pipeline.picture_output import announce_picture, check_picture
from etcli.pipeline.segment_report import (
    numbers_of,
    report_contrasts,
    report_densities,
    report_fainter,
    report_network,
    report_segmentation,
)
from etcli.pipeline.segment_request import AUTO, DENSE, HYSTERESIS, TWIN, VALUE, SegmentRequest, request_of
from etcli.pipeline.segmentation import Segmentation
from etcli.pipeline.session import Session
from etcli.pipeline.twin import Rebuild, twin_threshold

Array = NDArray[np.float32]

COPIES = 8
"""Arrays of the size of the volume that the work needs at most."""
LARGEST_UINT16 = 65535
GROW = Length(1.0, "px")
"""By how much ``--mask-out`` is larger than the labels, unless another length is given."""


@dataclass(frozen=True)
class SegmentFiles:
    """Files of a segmentation, named as the options of ``etcli segment``."""

    input: str
    output: str
    series: str | None = None
    tilts: str | None = None
    mask: str | None = None
    mask_out: str | None = None
    grow: Length | None = None
    plot: str | None = None


def segment(
    volume: Volume | NDArray[Any],
    method: float | str | None = None,
    *,
    series: TiltSeries | None = None,
    rebuild: Rebuild | None = None,
    mask: Volume | ArrayLike | None = None,
    session: Session | None = None,
    **options: Any,
) -> Segmentation:
    """Label the bodies in a volume.

    Parameters
    ----------
    volume : Volume or ndarray of shape (nz, ny, nx)
    method : float or str, optional
        A threshold, or how to find it: ``edge``, ``otsu``, ``multi-otsu``, ``mixture``, ``dense`` (metal on a
        support), ``twin`` or ``hysteresis:LOW,HIGH``. By default bodies apart from each other are found by
        Otsu's threshold and get one of their own each, and one body gets that of its edges.
    series : TiltSeries, optional
        The views of the volume, for ``twin``.
    rebuild : callable, optional
        ``rebuild(series)`` reconstructs a volume as `volume` was reconstructed, without subtracting a
        background, for ``twin``.
    mask : Volume or ndarray of shape (nz, ny, nx), optional
        Only where it is above zero is anything labelled. A named method finds the threshold in there, the
        default in the whole volume.
    session : Session, optional
        Threads and memory to use; `Session()` by default.
    **options
        ``one_threshold`` (never one for each label), ``smooth``, ``split`` (in pixels or with a unit, or
        "none"), ``min_size``, ``fill_holes``, ``invert``.

    Returns
    -------
    Segmentation

    Raises
    ------
    DataError
        When the volume is constant, or nothing or everything exceeds the threshold.
    UsageError
        When the options contradict each other, or the work does not fit into the memory.

    Examples
    --------
    >>> import numpy as np, etcli
    >>> z, y, x = np.mgrid[:32, :32, :48] - 15.5
    >>> balls = [np.clip(6.5 - np.sqrt(z**2 + y**2 + (x - at) ** 2), 0, 1) for at in (0, 16)]
    >>> found = etcli.segment(etcli.Volume((balls[0] + 0.5 * balls[1]).astype(np.float32)))
    >>> found.labels.shape, found.volume_px[1:].tolist()
    ((32, 32, 48), [912, 912])
    """
    session = session or Session()
    request = request_of(method=method, series=series, **options)
    if not isinstance(volume, Volume):
        volume = Volume(_as_array(volume, "volume"), name="volume")
    region = None if mask is None else _region(volume, _beside(volume, mask))
    return _segment(session, volume, request, series=series, rebuild=rebuild, region=region)[0]


def segment_files(
    session: Session, files: SegmentFiles, request: SegmentRequest, *, rebuild: Rebuild | None = None
) -> dict[str, Any]:
    """Segment from file to file.

    Parameters
    ----------
    session : Session
    files : SegmentFiles
    request : SegmentRequest
    rebuild : callable, optional
        As for `segment`.

    Returns
    -------
    dict
        The numbers of the run, for ``--json``.
    """
    _check_files(files)
    volume = read_volume_only(session, files.input)
    series = read_series(session, files.series, tilts=files.tilts) if files.series else None
    region = _region(volume, read_volume_only(session, files.mask)) if files.mask else None
    grow_px = (files.grow or GROW).px(volume.pixel_A)
    outputs = session.outputs()
    for target in (files.output, *([files.mask_out] if files.mask_out else [])):
        expect_images(outputs, target)
    with outputs:
        write_picture = announce_picture(outputs, files.plot) if files.plot else None
        found, values = _segment(session, volume, request, series=series, rebuild=rebuild, region=region)
        labels = found.labels
        *_, words = labels.history
        step = replace(_step(request, found), summary=words.partition(": ")[2])
        targets = [(files.output, labels, found.mode)]
        if files.mask_out:
            near = grown_mask(labels.images(), grow_px, threads=session.threads)
            targets.append((files.mask_out, replace(labels, data=near.astype(np.int8)), 0))
        for target, images, mode in targets:
            with volume_writer(
                outputs,
                target,
                images.shape,
                step=step,
                like=volume,
                pixel_A=volume.pixel_A,
                frame=volume.frame,
                origin_A=volume.origin_A,
                mode=mode,
            ) as writer:
                for z, section in enumerate(images.images()):
                    writer.write_section(z, section.astype(np.float32))
        if write_picture:
            from etcli.plotting.segmentation import segmentation_picture

            write_picture(
                segmentation_picture(
                    values,
                    labels.images(),
                    pixel_A=volume.pixel_A,
                    used=found.thresholds,
                    rules=_rules(session, values, region),
                    below=request.invert,
                )
            )
    return numbers_of(found)


def _segment(
    session: Session,
    volume: Volume,
    request: SegmentRequest,
    *,
    series: TiltSeries | None,
    rebuild: Rebuild | None,
    region: Mask | None,
) -> tuple[Segmentation, Array]:
    """Segment a volume; return the result and the grey levels that it was found in."""
    values = load_images(session, volume, copies=COPIES)
    split_px = request.split.px(volume.pixel_A) if request.split else None
    smooth_px = request.smooth.px(volume.pixel_A) if request.smooth else 0.0
    if smooth_px:
        values = gaussian(values, sigma_px=smooth_px)
    rules = LabelRules(
        split_px, request.min_size, request.fill_holes, faces=request.invert, threads=session.threads
    )
    work = _Work(session, volume, values, request, rules, region)
    twin: tuple[float, ...] | None = None
    if request.method.rule == TWIN and series is not None:
        twin = twin_threshold(session, volume, values, series, rebuild, smooth_px=smooth_px)
    with file_named_in_errors(volume):
        rule, thresholds, found, levels = work.run(twin)
    labels = found.labels
    n = int(labels.max())
    result = Segmentation(
        replace(
            volume,
            data=labels.astype(np.uint16) if n <= LARGEST_UINT16 else labels,
            name="labels",
        ),
        rule,
        thresholds,
        levels,
        voxel_counts(labels),
        border_labels(labels),
        cuts_between(labels, threads=session.threads),
        found.n_pieces,
        found.n_small,
        found.surroundings,
    )
    history = (*volume.history, str(_step(request, result)))
    result = replace(result, labels=replace(result.labels, history=history))
    report_segmentation(session, result, request)
    is_one = found.largest_share > ONE_BODY and not found.surroundings
    if is_one and (levels is None or request.invert):
        report_network(session, result, request, found.largest_share)
    if levels is None and not request.invert and len(result.volume_px) > 2:
        report_contrasts(session, request, contrasts_of(values, labels, threads=session.threads))
    may_hide = request.method.rule == AUTO and not request.invert and found.largest_share > ONE_BODY
    if may_hide and levels is None and region is None:
        report_fainter(session, *count_fainter(values, labels, threads=session.threads))
    if request.method.rule == DENSE or may_hide:
        report_densities(session, request, two_densities(histogram_of(values, work.looked_at)))
    return result, values


@dataclass(frozen=True, eq=False)
class _Work:
    """A segmentation ready to run; thresholds are in the grey levels of the volume, also when inverted."""

    session: Session
    volume: Volume
    values: Array
    request: SegmentRequest
    rules: LabelRules
    region: Mask | None

    @property
    def looked_at(self) -> Mask | None:
        """Where the threshold is found: by default a mask, with little background, only limits labels."""
        return None if self.request.method.rule == AUTO else self.region

    def run(self, twin: tuple[float, ...] | None) -> tuple[str, tuple[float, ...], Found, LocalLevels | None]:
        """Return the rule that is used, its thresholds, the labels, and their levels."""
        method, request = self.request.method, self.request
        if method.states_level:
            thresholds = twin or method.levels
            return method.rule, thresholds, self._found(method.rule, thresholds), None
        rule = method.rule
        if rule == AUTO:
            rule = "edge" if request.one_threshold or request.invert else "otsu"
        thresholds = self._thresholds(rule)
        found = self._found(rule, thresholds)
        signed = -self.values if request.invert else self.values
        if not request.one_threshold and (
            request.invert
            or rule == DENSE
            or are_separate_bodies(signed, found, threads=self.session.threads)
        ):
            labels, levels, n_small = with_own_levels(signed, found, self.rules, region=self.region)
            if request.invert:
                levels = LocalLevels(-levels.background, -levels.plateau)
            return rule, thresholds, replace(found, labels=labels, n_small=found.n_small + n_small), levels
        if method.rule == AUTO and rule != "edge":
            rule = "edge"
            thresholds = self._thresholds(rule)
            found = self._found(rule, thresholds)
            if are_separate_bodies(self.values, found, threads=self.session.threads):
                # light bodies, of which Otsu's threshold, high in a dense one, shows nothing
                labels, levels, n_small = with_own_levels(self.values, found, self.rules, region=self.region)
                return (
                    rule,
                    thresholds,
                    replace(found, labels=labels, n_small=found.n_small + n_small),
                    levels,
                )
        return rule, thresholds, found, None

    def _thresholds(self, rule: str) -> tuple[float, ...]:
        """Return the thresholds of a rule; a dark specimen is looked at as a bright one."""
        values, sign = self.values, 1.0
        if self.request.invert and not self._is_bright_specimen():
            values, sign = -values, -1.0
        if self.request.method.rule == AUTO and rule == "edge" and not self.request.invert:
            levels = two_densities(histogram_of(values, self.looked_at))
            if levels is not None:  # the surface is that of the lighter material
                values = np.minimum(values, np.float32(levels[0]))
        found = global_threshold(values, rule, inside=self.looked_at, threads=self.session.threads)
        return tuple(sorted(sign * level for level in found))

    def _is_bright_specimen(self) -> bool:
        """Whether the bright part is the smaller one: then pores are looked for, not a dark specimen."""
        (threshold,) = global_threshold(self.values, "otsu", inside=self.looked_at)
        return bool(np.count_nonzero(self.values > threshold) < self.values.size / 2)

    def _found(self, rule: str, thresholds: tuple[float, ...]) -> Found:
        """Label what exceeds a threshold, or what does not."""
        if rule == HYSTERESIS:
            low, high = thresholds
            solid = hysteresis(self.values, low, high)
            if self.request.invert:
                solid = hysteresis(-self.values, -high, -low)
        else:
            solid = self.values <= thresholds[0] if self.request.invert else self.values > thresholds[0]
        if self.region is not None:
            solid &= self.region
        return find_labels(solid, self.rules)


def _step(request: SegmentRequest, found: Segmentation) -> Any:
    """Return the step for the history."""
    pixels = found.labels.pixel_A
    n = len(found.volume_px) - 1
    others = [
        f"split {request.split.px(pixels):.4g} px" if request.split else "not split",
        *([f"smoothed {request.smooth.px(pixels):.4g} px"] if request.smooth else []),
        *(["inverted"] if request.invert else []),
        f"{n} label" + "s" * (n != 1),
    ]
    rule = "given" if found.rule == VALUE else found.rule
    return segmentation_step(rule, found.thresholds, local=found.levels is not None, others=others)


def _check_files(files: SegmentFiles) -> None:
    """Check before the work that the outputs can be written."""
    check_picture(files.plot)
    if files.grow is not None and files.mask_out is None:
        raise UsageError("--grow is for the mask of --mask-out; name one, or leave out --grow")
    if files.mask_out is not None and os.path.realpath(files.mask_out) == os.path.realpath(files.output):
        raise UsageError(f"--mask-out {files.mask_out} is the file of the labels; give another name")


def _as_array(data: Any, name: str) -> NDArray[Any]:
    """Check that data are an image stack."""
    array = np.asarray(data)
    if array.ndim != 3:
        raise UsageError(f"the {name} must be a Volume or an array of shape (nz, ny, nx)")
    return array


def _beside(volume: Volume, mask: Volume | ArrayLike) -> Volume:
    """Return a mask as a volume; an array lies where the volume lies."""
    if isinstance(mask, Volume):
        return mask
    return replace(volume, data=_as_array(mask, "mask"), name="mask", history=())


def _region(volume: Volume, mask: Volume) -> Mask:
    """Return where a mask is above 0, along the axes of a volume; raise DataError when it does not fit."""
    if mask.frame is None:  # of another program, which keeps the order of the axes
        mask = replace(mask, frame=volume.frame)
    check_fits(mask.upright(), volume.upright())
    if volume.frame is not None:
        mask = mask.upright().turned(volume.frame.axes)
    region = np.stack([mask.view(z) > 0 for z in range(len(mask))])
    if not region.any():
        raise DataError(f"{mask.name}: the mask is empty: no voxel is above 0")
    return region


def _rules(session: Session, values: Array, region: Mask | None) -> dict[str, float]:
    """Return the thresholds of all rules, for the picture."""
    names = ("edge", "otsu", "mixture")
    return {name: global_threshold(values, name, inside=region, threads=session.threads)[0] for name in names}
