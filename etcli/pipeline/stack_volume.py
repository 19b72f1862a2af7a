"""Sections and areas of a volume, which stays a volume with its frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.grey_scale import GreyScale
from etcli.core.series import Volume
from etcli.io.writers import ProcessingStep, volume_writer
from etcli.pipeline.session import Session
from etcli.pipeline.view_selection import Region
from etcli.pipeline.written_images import ImageSource


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
    session: Session,
    volume: Volume,
    output: str,
    block: Block,
    *,
    words: list[str],
    mode: int,
    scale: GreyScale | None = None,
) -> None:
    """Write a box of a volume, with its origin and frame.

    Parameters
    ----------
    session : Session
    volume : Volume
    output : str
    block : Block
    words : list of str
        What is kept, for the history.
    mode : int
        MRC mode.
    scale : GreyScale, optional
        Scaling into the range of an integer mode.
    """
    rows, columns = block.area.rows, block.area.columns
    x_A, y_A, z_A = volume.voxel_A if volume.voxel_A and volume.voxel_A[0] else [volume.pixel_A or 0.0] * 3
    x, y, z = volume.origin_A

    def read(k: int) -> NDArray[np.float32]:
        return volume.view(block.sections[k])[rows, columns]

    images = ImageSource(
        session, read, len(block.sections), name=volume.name, target=output, mode=mode, scale=scale
    )
    with session.outputs() as outputs:
        opened = volume_writer(
            outputs,
            output,
            (len(block.sections), rows.stop - rows.start, columns.stop - columns.start),
            step=ProcessingStep("stack", ", ".join([*words, *images.words()])),
            like=volume,
            pixel_A=volume.pixel_A,
            frame=volume.frame,
            origin_A=(x + x_A * columns.start, y + y_A * rows.start, z + z_A * block.sections.start),
            mode=mode,
        )
        images.write(opened, "stacking")
