"""Look of images that people choose: colours, contrast, gamma."""

from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.colors import Colormap, ListedColormap
from numpy.typing import ArrayLike

from etcli.core.surfaces.label_colours import label_colours
from etcli.plotting.style import contrast

SAMPLE = 1_000_000
"""Number of values from which percentiles are computed."""


@dataclass(frozen=True)
class Look:
    """Colours and contrast of images.

    Parameters
    ----------
    cmap : str
        Colour map of matplotlib.
    limits : (float, float) or None
        Values shown as black and white; by default the `contrast` of the images.
    percent : bool
        Whether the limits are percentiles of the images.
    gamma : float
        Exponent of the grey level from 0 to 1: below 1 faint features become brighter.
    n_labels : int
        Largest of the labels that the values are, which have a colour each; 0 where they are no labels.
    """

    cmap: str = "gray"
    limits: tuple[float, float] | None = None
    percent: bool = False
    gamma: float = 1.0
    n_labels: int = 0

    @property
    def colours(self) -> Colormap:
        """Colours of the values between the levels."""
        if not self.n_labels:
            return matplotlib.colormaps[self.cmap]
        return ListedColormap([(0.0, 0.0, 0.0), *label_colours(np.arange(1, self.n_labels + 1))])

    @property
    def interpolation(self) -> str | None:
        """How pixels are drawn that are smaller than those of the picture; labels cannot be averaged."""
        return "nearest" if self.n_labels else None

    def levels(self, images: ArrayLike) -> tuple[float, float]:
        """Return the black and the white level of images that are shown together.

        Parameters
        ----------
        images : array_like
            Values; those that are not finite are ignored, large arrays are sampled.

        Returns
        -------
        tuple of float
        """
        if self.n_labels:
            return -0.5, self.n_labels + 0.5
        if self.limits is None:
            return contrast(images)
        if not self.percent:
            return self.limits
        values = np.asarray(images).reshape(-1)
        values = values[:: max(1, values.size // SAMPLE)]
        values = values[np.isfinite(values)]
        black, white = np.percentile(values, self.limits) if values.size else (0.0, 1.0)
        return float(black), float(white) if white > black else float(black) + 1.0


GREY = Look()
