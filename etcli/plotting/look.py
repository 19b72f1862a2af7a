"""Look of images that people choose: colours, contrast, gamma."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

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
    """

    cmap: str = "gray"
    limits: tuple[float, float] | None = None
    percent: bool = False
    gamma: float = 1.0

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
