"""Files of the measures of pores and networks: table of pores, map of thickness, picture."""

from collections.abc import Callable
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from etcli.core.series import Volume
from etcli.io.element_map import ElementMap
from etcli.io.outputs import Outputs
from etcli.io.tables import write_table
from etcli.io.writers import ProcessingStep, volume_writer
from etcli.pipeline.map_names import map_file
from etcli.pipeline.measured import Measured
from etcli.pipeline.picture_output import announce_picture
from etcli.pipeline.pore_request import PoreRequest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PORES = "pores"
"""Added to the names of the table and of the picture of the labels."""


def announce_pores(
    outputs: Outputs, request: PoreRequest, *, table: str | None, plot: str | None
) -> Callable[[Measured, Volume], None]:
    """Reserve the files of pores beside those of labels; return the function that writes them.

    Parameters
    ----------
    outputs : Outputs
    request : PoreRequest
    table, plot : str, optional
        Names of the table and of the picture of the labels.

    Returns
    -------
    callable
        Takes the result, and the measured volume with its sections along z.
    """
    rows = outputs.path(map_file(table, PORES)) if table and request.pores else None
    has_picture = plot and (request.pores or request.thickness)
    picture = announce_picture(outputs, map_file(plot, PORES)) if plot and has_picture else None

    def write(result: Measured, volume: Volume) -> None:
        if rows and result.pore_columns is not None:
            write_table(rows, result.pore_columns)
        if picture:
            picture(pore_picture(result, volume))

    return write


def write_thickness(outputs: Outputs, target: str, result: Measured, volume: Volume) -> None:
    """Write the local thickness of labels and pores as a volume.

    Parameters
    ----------
    outputs : Outputs
    target : str
    result : Measured
        With the thickness.
    volume : Volume
        The measured volume, its sections along z.
    """
    values = result.thickness
    if values is None:
        return
    with volume_writer(
        outputs,
        target,
        values.shape,
        step=ProcessingStep("measure", f"local thickness in {result.unit} of labels and pores"),
        like=volume,
        shows=ElementMap(values=f"local thickness ({result.unit})"),
        pixel_A=volume.pixel_A,
        frame=volume.frame,
        origin_A=volume.origin_A,
    ) as writer:
        for z, section in enumerate(values):
            writer.write_section(z, section)


def pore_picture(result: Measured, volume: Volume) -> "Figure":
    """Draw a result: `etcli.plotting.pores.pore_figure` of the section with the most pores.

    Parameters
    ----------
    result : Measured
        With pores or thickness.
    volume : Volume
        The measured volume, its sections along z.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from etcli.plotting.pores import PorePicture, pore_figure

    found, columns, thickness = result.pore_measures, result.pore_columns, result.thickness
    pores = found.pores if found else None
    some = pores is not None and len(pores.is_open) > 0
    numbers = pores.measures.sums.numbers if pores and some else result.measures.sums.numbers
    z = int(np.argmax(np.count_nonzero(numbers, axis=(1, 2))))
    kinds = {}
    if pores and columns is not None:
        for kind, chosen in (("closed", ~pores.is_open), ("open", pores.is_open)):
            where = np.concatenate([[False], chosen])[pores.measures.sums.numbers[z]]
            kinds[kind] = where, columns[f"eq_diameter_{result.unit}"][chosen]
    parts = found.thickness.parts() if found and found.thickness else {}
    return pore_figure(
        PorePicture(
            image=volume.view(z),
            z=z + 1,
            pixel_A=result.pixel_A,
            unit=result.unit,
            pores=kinds,
            thickness=None if thickness is None else thickness[z],
            parts={name: values * np.float32(result.step) for name, values in parts.items()},
        ),
        title=PurePath(volume.name).name,
    )
