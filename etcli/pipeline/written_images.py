"""Writing of images one after the other, scaled into the range of an integer type on request."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.grey_scale import GreyScale, Scaling, find_scaling
from etcli.core.parallel import ordered_map
from etcli.io.mrc_writer import RangeError
from etcli.io.writers import Writer, grey_range
from etcli.pipeline.session import Session

Image = NDArray[np.float32]
MOST_BEYOND = 0.5
"""Share of the pixels beyond the range of a scale above which that is warned of."""


class ImageSource:
    """Images to be written, as they are or scaled.

    Parameters
    ----------
    session : Session
    read : callable
        ``read(k)`` returns image ``k``, an array (ny, nx).
    n : int
        Number of images.
    name : str
        Name of the images in messages.
    target : str
        File to write, whose format decides with the mode about the range of the numbers.
    mode : int
        MRC mode.
    scale : GreyScale, optional
        Scaling into the range of the mode.

    Raises
    ------
    UsageError
        When a scale is given for a mode with fractions.
    DataError
        When the images have no such scale.
    """

    def __init__(
        self,
        session: Session,
        read: Callable[[int], Image],
        n: int,
        *,
        name: str,
        target: str,
        mode: int,
        scale: GreyScale | None = None,
    ) -> None:
        self._session, self._read, self._n, self._mode = session, read, n, mode
        self._scaling: Scaling | None = None
        if scale is not None:
            to = grey_range(target, mode)
            if to is None:
                raise UsageError(f"--scale is for whole numbers; give --mode 0, 1 or 6, not {mode}")
            self._scaling = find_scaling(
                read, n, scale, to, name=name, memory=session.memory, threads=session.threads
            )
        self._scale = scale

    def words(self) -> list[str]:
        """Return what the history tells of the scaling."""
        if self._scaling is None or self._scale is None:
            return []
        to = "{} to {}".format(*self._scaling.to)
        if self._scale.kind == "mean-sd":
            return [f"same mean and sd, scaled to {to}"]
        return ["{:.7g} to {:.7g} scaled to ".format(*self._scaling.values_at_ends()) + to]

    def write(self, opened: AbstractContextManager[Writer], what: str) -> None:
        """Write the images; report the range of the values and how many pixels lie beyond that of the scale.

        Raises
        ------
        RangeError
            When the values do not fit the mode; it names the range of all images.
        """
        n_limited = n_pixels = 0
        lowest, highest, failed = np.inf, -np.inf, None
        with opened as writer:
            images = ordered_map(self._image, range(self._n), threads=self._session.threads)
            for k, (image, limited, ends) in enumerate(self._session.track(images, self._n, what)):
                lowest, highest = min(lowest, ends[0]), max(highest, ends[1])
                n_limited, n_pixels = n_limited + limited, n_pixels + image.size
                try:
                    if failed is None:
                        writer.write_section(k, image)
                except RangeError as error:
                    failed = error  # the images that follow are read for their range
            if failed is not None:
                raise RangeError(lowest, highest, self._mode, of_all=True) from failed
        if self._scaling is not None:
            beyond = n_limited / n_pixels
            tell = self._session.reporter.warn if beyond > MOST_BEYOND else self._session.reporter.report
            tell(
                f"values from {lowest:.7g} to {highest:.7g}: {', '.join(self.words())}"
                f"{', which IMOD shows as 0 to 255' * (self._scaling.to[0] < 0)}; "
                f"{100 * beyond:.3g} % of the pixels lie beyond"
            )

    def _image(self, k: int) -> tuple[Image, int, tuple[float, float]]:
        """Return an image to write, how many of its pixels were limited, and the range of its values."""
        image = self._read(k)
        ends = float(image.min()), float(image.max())
        return (image, 0, ends) if self._scaling is None else (*self._scaling.apply(k, image), ends)
