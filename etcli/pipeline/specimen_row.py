"""Row of a volume that shows the specimen, known from the views before the volume is."""

import numpy as np

from etcli.core.series import TiltSeries
from etcli.core.specimen_centre import specimen_centre

MOST_VIEWS = 9


def specimen_row(series: TiltSeries, rows: tuple[int, int]) -> int:
    """Find the row of the centre of mass of the specimen in some of the views.

    Parameters
    ----------
    series : TiltSeries
    rows : (int, int)
        First row of the views in the volume, counted from 0, and number of rows.

    Returns
    -------
    int
        Row of the volume, counted from 0.
    """
    chosen = np.unique(np.linspace(0, len(series) - 1, MOST_VIEWS).round().astype(int))
    views = np.stack([series.view(int(k)) for k in chosen])
    return int(np.clip(specimen_centre(views)[1] - rows[0], 0, rows[1] - 1))
