"""Sections and areas of a volume, which stays a volume with its frame."""

from dataclasses import dataclass

import numpy as np

from etcli.core.errors import UsageError
from etcli.core.parallel import ordered_map
from etcli.core.series import Volume
from etcli.io.writers import ProcessingStep, volume_writer
from etcli.pipeline.session import Session
from etcli.pipeline.view_selection import Region


@dataclass(frozen=True)
class Block:
    """Box of a volume to keep: sections, counted from 0 and without gaps, columns and rows."""

    sections: range
    area: Region


def check_sections(volume: Volume, sections: list[int]) -> range:
    """Return sections as a range; raise UsageError if they do not follow each other, as in a volume."""
    if not sections or not (np.diff(sections) == 1).all():
        raise UsageError(
            f"{volume.name}: the sections kept of a volume must follow each other in their order; give "
            "--views FIRST-LAST"
        )
    return range(sections[0], sections[-1] + 1)


def write_block(
    session: Session, volume: Volume, output: str, block: Block, *, step: ProcessingStep, mode: int
) -> None:
    """Write a box of a volume, with its origin and frame.

    Parameters
    ----------
    session : Session
    volume : Volume
    output : str
    block : Block
    step : ProcessingStep
        For the history.
    mode : int
        MRC mode.
    """
    rows, columns = block.area.rows, block.area.columns
    x_A, y_A, z_A = volume.voxel_A if volume.voxel_A and volume.voxel_A[0] else [volume.pixel_A or 0.0] * 3
    x, y, z = volume.origin_A
    with (
        session.outputs() as outputs,
        volume_writer(
            outputs,
            output,
            (len(block.sections), rows.stop - rows.start, columns.stop - columns.start),
            step=step,
            like=volume,
            pixel_A=volume.pixel_A,
            frame=volume.frame,
            origin_A=(x + x_A * columns.start, y + y_A * rows.start, z + z_A * block.sections.start),
            mode=mode,
        ) as writer,
    ):
        images = ordered_map(volume.view, block.sections, threads=session.threads)
        for k, image in enumerate(session.track(images, len(block.sections), "stacking")):
            writer.write_section(k, image[rows, columns])
