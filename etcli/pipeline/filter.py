"""Filtering of images or of a volume (denoising, edge detection), in memory or from file to file."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from etcli.core.errors import UsageError
from etcli.core.filters import apply_filter
from etcli.core.lengths import Length
from etcli.core.parallel import ordered_map
from etcli.core.series import TiltSeries, Volume
from etcli.io.element_map import FILTERED, with_values
from etcli.io.writers import ProcessingStep, Writer, series_writer, volume_writer
from etcli.pipeline.inputs import load_images, read_series, read_volume
from etcli.pipeline.session import Session

ARRAYS_NEEDED = {
    "median": 2,
    "gaussian": 2,
    "sobel": 4,
    "median-sobel": 5,
    "bandpass": 3,
    "tv": 8,
    "nlm": 9,
    "despike": 5,
}
"""Arrays of the size of the volume that each method needs at most, as measured."""
WHOLE_TOLERANCE_PX = 0.01


@dataclass(frozen=True)
class FilterRequest:
    """Options of a filter, named as those of ``etcli filter``."""

    method: str = "median"
    size: Length = Length(3.0, "px")
    sigma: Length = Length(1.0, "px")
    low: Length | None = None
    high: Length | None = None
    weight: float | None = None
    threshold: float = 8.0

    def settings(self, pixel_A: float | None) -> dict[str, Any]:
        """Arguments of `etcli.core.filters.apply_filter` for a given pixel size."""
        return {
            "method": self.method,
            "size": self._kernel_px(pixel_A),
            "sigma_px": self.sigma.px(pixel_A),
            "low_px": self.low.px(pixel_A) if self.low else None,
            "high_px": self.high.px(pixel_A) if self.high else None,
            "weight": self.weight,
            "threshold": self.threshold,
        }

    def _kernel_px(self, pixel_A: float | None) -> int:
        """Return the width of the kernel in whole pixels."""
        px = self.size.px(pixel_A)
        if abs(px - round(px)) > WHOLE_TOLERANCE_PX:
            raise UsageError(f"--size is {px:g} pixels; give a whole and odd number of them, such as 3px")
        return round(px)


def filter(
    images: TiltSeries | Volume,
    method: str = "median",
    *,
    session: Session | None = None,
    **options: Any,
) -> TiltSeries | Volume:
    """Denoise the views of a series or a volume, or enhance their edges.

    Parameters
    ----------
    images : TiltSeries or Volume
        Views are filtered one by one, a volume in three dimensions.
    method : {"median", "gaussian", "sobel", "median-sobel", "bandpass", "tv", "nlm", "despike"}
    session : Session, optional
        Threads and memory to use; `Session()` by default.
    **options
        ``size``, ``sigma``, ``low``, ``high`` (in pixels or with a unit), ``weight`` and ``threshold``.

    Returns
    -------
    TiltSeries or Volume

    Raises
    ------
    UsageError
        When the method is unknown, or an option is not valid.

    Examples
    --------
    >>> import numpy as np, etcli
    >>> views = np.ones((3, 8, 8), np.float32)
    >>> views[1, 4, 4] = 100
    >>> clean = etcli.filter(etcli.TiltSeries.of(views, [-60, 0, 60]), "median", size=3)
    >>> float(clean.view(1).max())
    1.0
    """
    session = session or Session()
    lengths = {
        name: Length.parse(value, "px")
        for name, value in options.items()
        if name in ("size", "sigma", "low", "high") and value is not None
    }
    settings = FilterRequest(method, **(options | lengths)).settings(images.pixel_A)
    data = np.empty(images.shape, np.float32)
    for target, section in zip(data, _filtered_images(session, images, settings), strict=True):
        target[:] = section
    dims = 2 if isinstance(images, TiltSeries) else 3
    history = (*images.history, str(ProcessingStep("filter", _summary(settings, dims))))
    filtered = replace(images, data=data, history=history)
    if isinstance(filtered, TiltSeries):
        filtered = with_values(filtered, FILTERED)
        return replace(filtered, views=replace(filtered.views, section=np.arange(len(data))))
    return filtered


def filter_files(
    session: Session, input: str, output: str, request: FilterRequest, *, dims: int, mode: int
) -> None:
    """Filter images (two `dims`) or a volume (three) from file to file."""
    images: TiltSeries | Volume = (
        read_series(session, input, stream=True) if dims == 2 else read_volume(session, input, stream=True)
    )
    settings = request.settings(images.pixel_A)
    step = ProcessingStep("filter", _summary(settings, dims))
    opened: AbstractContextManager[Writer]
    with session.outputs() as outputs:
        if isinstance(images, TiltSeries):
            opened = series_writer(outputs, output, with_values(images, FILTERED), step=step, mode=mode)
        else:
            opened = volume_writer(
                outputs,
                output,
                images.shape,
                step=step,
                like=images,
                pixel_A=images.pixel_A,
                frame=images.frame,
                origin_A=images.origin_A,
                mode=mode,
            )
        with opened as writer:
            sections = _filtered_images(session, images, settings)
            for k, image in enumerate(session.track(sections, len(images), "filtering")):
                writer.write_section(k, image)


def _filtered_images(
    session: Session, images: TiltSeries | Volume, settings: dict[str, Any]
) -> Iterable[Any]:
    """Return an iterator over the filtered sections."""

    def apply(image: Any) -> Any:
        return apply_filter(image, **settings)

    if isinstance(images, TiltSeries):
        return ordered_map(lambda k: apply(images.view(k)), range(len(images)), threads=session.threads)
    sections: Iterable[Any] = apply(
        load_images(session, images, copies=ARRAYS_NEEDED.get(settings["method"], 1))
    )
    return sections


def _summary(settings: dict[str, Any], dims: int) -> str:
    """Return a short summary of what was done, with the settings that the method uses."""
    method = settings["method"]
    words = [f"{method} in {dims}-D"]
    if method in ("median", "median-sobel", "despike"):
        words.append(f"size {settings['size']} px")
    if method == "gaussian":
        words.append(f"sigma {settings['sigma_px']:.4g} px")
    if method == "bandpass":
        words += [
            f"{name} {settings[f'{name}_px']:.4g} px" for name in ("low", "high") if settings[f"{name}_px"]
        ]
    if method == "despike":
        words.append(f"threshold {settings['threshold']:.4g}")
    if settings["weight"]:
        words.append(f"weight {settings['weight']:.4g}")
    return ", ".join(words)
