"""Measures of labels from file to file."""

from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from etcli.core.number_words import counted
from etcli.core.series import Volume
from etcli.io.tables import write_table
from etcli.io.writers import expect_images
from etcli.pipeline.inputs import read_series, read_volume_only
from etcli.pipeline.measure import MeasureInputs, measure_inputs
from etcli.pipeline.measured import Measured
from etcli.pipeline.picture_output import announce_picture, check_picture
from etcli.pipeline.pore_files import announce_pores, write_thickness
from etcli.pipeline.pore_request import NO_PORES, PoreRequest
from etcli.pipeline.session import Session
from etcli.pipeline.text_output import check_text_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class MeasureFiles:
    """Files of ``measure``, named as its options."""

    input: str
    labels: str
    csv: str | None = None
    halves: tuple[str, str] | None = None
    series: str | None = None
    tilts: str | None = None
    roi: str | None = None
    plot: str | None = None
    thickness_out: str | None = None


def measure_files(session: Session, files: MeasureFiles, pore_request: PoreRequest = NO_PORES) -> Measured:
    """Measure labels, and write the tables and pictures that are asked for.

    Parameters
    ----------
    session : Session
    files : MeasureFiles
        The table and the picture of pores are named as those of labels, with ``_pores``.
    pore_request : PoreRequest, optional
        What is measured of pores and networks.

    Returns
    -------
    Measured

    Raises
    ------
    DataError, UsageError
        As for `etcli.measure`; nothing is written then.
    """
    check_picture(files.plot)
    check_text_names(table=files.csv)
    pore_request.check()
    if files.thickness_out and not pore_request.thickness:
        pore_request = replace(pore_request, thickness=True)
    volume, labels = (read_volume_only(session, name) for name in (files.input, files.labels))
    halves = None
    if files.halves:
        odd, even = files.halves
        halves = read_volume_only(session, odd), read_volume_only(session, even)
    inputs = MeasureInputs(
        volume,
        labels,
        halves,
        read_series(session, files.series, tilts=files.tilts) if files.series else None,
        read_volume_only(session, files.roi) if files.roi else None,
        pore_request,
    )
    with session.outputs() as outputs:
        if files.thickness_out:
            expect_images(outputs, files.thickness_out)
        table = outputs.path(files.csv) if files.csv else None
        picture = announce_picture(outputs, files.plot) if files.plot else None
        write_pores = announce_pores(outputs, pore_request, table=files.csv, plot=files.plot)
        result = measure_inputs(session, inputs)
        if table:
            write_table(table, result.columns)
        if picture:
            picture(measure_picture(result, volume.upright(), inputs.region))
        write_pores(result, volume.upright())
        if files.thickness_out:
            write_thickness(outputs, files.thickness_out, result, volume.upright())
    return result


def measure_picture(result: Measured, volume: Volume, region: Volume | None = None) -> "Figure":
    """Draw a result: `etcli.plotting.measurement.measurement_figure` of its whole bodies.

    Parameters
    ----------
    result : Measured
    volume : Volume
        The measured volume, its sections along z.
    region : Volume, optional
        The mask; its outline is drawn, and labels outside are not coloured.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from etcli.plotting.measurement import LabelPicture, LabelSlice, measurement_figure

    numbers, u, whole = result.measures.sums.numbers, result.unit, result.measures.whole
    mask = None if region is None else region.upright().images() > 0
    shown = numbers if mask is None else np.where(mask, numbers, 0)
    z = int(np.argmax(np.count_nonzero(shown, axis=(1, 2))))
    y = int(np.argmax(np.count_nonzero(shown, axis=(0, 2))))
    columns = {name: values[whole] for name, values in result.columns.items()}
    grey = volume.images()

    def cut(at: tuple[slice | int, ...], title: str) -> LabelSlice:
        return LabelSlice(grey[at], shown[at], None if mask is None else mask[at], title)

    everything = slice(None)
    return measurement_figure(
        LabelPicture(
            slices=(
                cut((z,), f"labels, X–Y, section {z + 1}"),
                cut((everything, y), f"labels, X–Z, row {y + 1}"),
            ),
            pixel_A=result.pixel_A,
            unit=u,
            diameter=columns[f"eq_diameter_{u}"],
            sigma=columns[f"sigma_eq_diameter_{u}"],
            sphericity=columns["sphericity"],
            angle_z_deg=columns["angle_z_deg"],
            mean=result.totals[f"mean_eq_diameter_{u}"],
            sigma_mean=result.totals[f"sigma_mean_eq_diameter_{u}"],
        ),
        title=f"{PurePath(volume.name).name}: {counted(len(result.measures), 'label')}",
    )
