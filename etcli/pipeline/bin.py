"""Binning of images or of a volume, in memory or from file to file."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from etcli.core.binning import bin_image, binned_sections, binned_size
from etcli.core.parallel import ordered_map
from etcli.core.series import TiltSeries, Volume
from etcli.io.element_map import MEAN, ElementMap, with_values
from etcli.io.writers import ProcessingStep, Writer, series_writer, volume_writer
from etcli.pipeline.inputs import read_series, read_volume
from etcli.pipeline.session import Session


@dataclass(frozen=True)
class BinRequest:
    """Options of a binning, named as those of ``etcli bin``."""

    factor: float = 2.0
    method: str | None = None

    def of_images(self, session: Session, images: TiltSeries | Volume) -> "BinRequest":
        """Return the request with a method: the sum for a map of counts, else the mean."""
        has_counts = isinstance(images, TiltSeries) and ElementMap.of(images.description).holds_counts
        if has_counts and self.method is None:
            session.reporter.report(f"{images.name}: counts are summed")
        return replace(self, method=self.method or ("sum" if has_counts else "mean"))

    def step(self, dims: int) -> ProcessingStep:
        """Processing step for the history."""
        return ProcessingStep("bin", f"{self.method} of " + " x ".join([f"{self.factor:g}"] * dims))


def bin(
    images: TiltSeries | Volume,
    factor: float = 2.0,
    *,
    method: str | None = None,
    session: Session | None = None,
) -> TiltSeries | Volume:
    """Bin the views of a series, or a volume.

    Parameters
    ----------
    images : TiltSeries or Volume
        Views are binned one by one, a volume along all axes.
    factor : float
        How many pixels become one, along each axis.
    method : {"mean", "sum", "fourier"}, optional
        Mean or sum of the area, or a crop of the Fourier transform; by default the mean, and of maps of
        counts the sum.
    session : Session, optional
        Threads to use; `Session()` by default.

    Returns
    -------
    TiltSeries or Volume

    Raises
    ------
    UsageError
        When the factor or the method is not valid.

    Examples
    --------
    >>> import numpy as np, etcli
    >>> series = etcli.TiltSeries.of(np.ones((3, 8, 8), np.float32), [-60, 0, 60], pixel_A=2.0)
    >>> small = etcli.bin(series, 2)
    >>> small.shape, small.pixel_A
    ((3, 4, 4), 4.0)
    """
    session = session or Session()
    request = BinRequest(factor, method).of_images(session, images)
    sections, shape, origin_A = _binned_images(session, images, request)
    data = np.empty(shape, np.float32)
    for target, section in zip(data, sections, strict=True):
        target[:] = section
    pixel_A = images.pixel_A * factor if images.pixel_A else None
    history = (*images.history, str(request.step(2 if isinstance(images, TiltSeries) else 3)))
    binned = replace(
        _described(images, request), data=data, pixel_A=pixel_A, origin_A=origin_A, history=history
    )
    if isinstance(binned, TiltSeries):
        return replace(binned, views=replace(binned.views, section=np.arange(len(data))))
    frame = replace(binned.frame, voxel_A=pixel_A) if binned.frame and pixel_A else None
    if binned.voxel_A:
        x, y, z = (factor * side for side in binned.voxel_A)
        binned = replace(binned, voxel_A=(x, y, z))
    return replace(binned, frame=frame)


def bin_files(
    session: Session, input: str, output: str, request: BinRequest, *, dims: int, mode: int
) -> None:
    """Bin images (two `dims`) or a volume (three) from file to file."""
    images: TiltSeries | Volume = (
        read_series(session, input, stream=True) if dims == 2 else read_volume(session, input, stream=True)
    )
    request = request.of_images(session, images)
    images = _described(images, request)
    with session.outputs() as outputs:
        sections, shape, origin_A = _binned_images(session, images, request)
        pixel_A = images.pixel_A * request.factor if images.pixel_A else None
        opened: AbstractContextManager[Writer]
        if isinstance(images, TiltSeries):
            opened = series_writer(
                outputs,
                output,
                images,
                step=request.step(2),
                shape=shape[1:],
                pixel_A=pixel_A,
                origin_A=origin_A,
                mode=mode,
            )
        else:
            frame = replace(images.frame, voxel_A=pixel_A) if images.frame and pixel_A else None
            opened = volume_writer(
                outputs,
                output,
                shape,
                step=request.step(3),
                like=images,
                pixel_A=pixel_A,
                frame=frame,
                origin_A=origin_A,
                mode=mode,
            )
        with opened as writer:
            for k, image in enumerate(session.track(sections, shape[0], "binning")):
                writer.write_section(k, image)


def _described(images: TiltSeries | Volume, request: BinRequest) -> TiltSeries | Volume:
    """Return the images with a description that says where counts are no longer counts."""
    if isinstance(images, TiltSeries) and request.method != "sum":
        return with_values(images, MEAN)
    return images


def _binned_images(
    session: Session, images: TiltSeries | Volume, request: BinRequest
) -> tuple[Iterable[Any], tuple[int, int, int], tuple[float, float, float]]:
    """Return an iterator over the binned sections, their shape, and the position of the first pixel."""
    factor, method, is_volume = request.factor, request.method or "mean", isinstance(images, Volume)
    nz, ny, nx = images.shape
    n = binned_size(nz, factor) if is_volume else nz
    size = n, binned_size(ny, factor), binned_size(nx, factor)
    # pixels that do not fill a whole new one are cropped evenly on both sides
    cropped_px = [(n - m * factor) / 2 for n, m in ((nx, size[2]), (ny, size[1]))]
    cropped_px.append((nz - size[0] * factor) / 2 if is_volume else 0.0)
    x, y, z = (at + (images.pixel_A or 0.0) * n for at, n in zip(images.origin_A, cropped_px, strict=True))
    if is_volume:
        sections = binned_sections(images.view, images.shape, factor, method=method, threads=session.threads)
        return sections, size, (x, y, z)
    reduce = partial(bin_image, factor=factor, method=method)
    return (
        ordered_map(lambda k: reduce(images.view(k)), range(len(images)), threads=session.threads),
        size,
        (x, y, z),
    )
