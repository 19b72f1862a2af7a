"""Projection of a volume of electrostatic potential by multislice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.arguments import checked_integer, checked_number
from etcli.core.errors import UsageError
from etcli.core.lengths import ANGSTROM_PER_UM
from etcli.core.multislice.backends import bytes_besides_volumes
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.multislice.projection import phase_contrast_images
from etcli.core.projectors import Device
from etcli.core.series import TiltSeries, Volume
from etcli.core.view_table import ViewTable
from etcli.pipeline.devices import multislice_device, use_gpu
from etcli.pipeline.inputs import load_images
from etcli.pipeline.memory_budget import MemoryBudget
from etcli.pipeline.phase_contrast_request import PhaseContrastRequest
from etcli.pipeline.session import Session
from etcli.pipeline.wave_size import check_defoci

COPIES = 2
"""Arrays of the size of the volume that are held beside it."""


@dataclass(frozen=True)
class MultisliceProjection:
    """Options of ``etcli project --model multislice``.

    Parameters
    ----------
    defocus_um : sequence of float or None
        Defoci of the images at each tilt in µm; None for those of the views that are projected again.
    kv, alpha, cs
        See `PhaseContrastRequest`.
    binned_slices : int
        Sections of the volume that are added up between two propagations of the wave.
    """

    defocus_um: Sequence[float] | None = None
    kv: float | None = None
    alpha: float | None = None
    cs: float = 0.0
    binned_slices: int = 8

    def check_unused(self) -> None:
        """Check that no option is given, for a model that uses none of them; raise UsageError otherwise."""
        for name, default in vars(MultisliceProjection()).items():
            if getattr(self, name) != default:
                shown = name.removesuffix("_um").replace("_", "-")
                raise UsageError(f"--{shown} is for --model multislice; leave it out")

    def views(self, views: ViewTable) -> ViewTable:
        """Return the table of the images: at each tilt, all defoci in turn.

        Raises
        ------
        UsageError
            When no defoci are known.
        """
        if views.euler_deg is not None:
            raise UsageError(
                "--model multislice projects at tilt angles; give --tilts or --range, no --euler"
            )
        if self.defocus_um is None:
            if views.defocus_um is None or not np.isfinite(views.defocus_um).all():
                raise UsageError("the defocus is not known; give --defocus LIST, in µm")
            return ViewTable(np.arange(len(views)), views.tilt_deg, defocus_um=views.defocus_um)
        defoci = [checked_number("a defocus", value) for value in np.atleast_1d(self.defocus_um)]
        tilts = np.asarray(views.tilt_deg)[[group[0] for group in views.groups()]]
        table = ViewTable.tilted(np.repeat(tilts, len(defoci)))
        return replace(table, defocus_um=np.tile(defoci, len(tilts)))

    def project(
        self,
        session: Session,
        volume: Volume,
        like: TiltSeries,
        write: Callable[[int, NDArray[np.float32]], None],
        *,
        middle_px: Sequence[float],
    ) -> None:
        """Project a volume in volts.

        Parameters
        ----------
        session : Session
        volume : Volume
        like : TiltSeries
            The series to be computed, still without images.
        write : callable
            ``write(0, images)`` receives the images.
        middle_px : (float, float, float)
            Middle (x, y, z) of the volume relative to its rotation centre, in voxels.

        Raises
        ------
        UsageError
            When voxel size or voltage are unknown, the tilt axis is not in the middle of the volume, or the
            computation does not fit into the memory.
        """
        if not volume.pixel_A:
            raise UsageError(f"{volume.name}: the voxel size is not known, which --model multislice needs")
        x, _, z = middle_px
        if abs(x) > 1e-3 or abs(z) > 1e-3 or (volume.frame is not None and volume.frame.x_tilt_deg):
            raise UsageError(
                f"{volume.name}: --model multislice needs the tilt axis in the middle of the volume; "
                "reconstruct it without --width, --z-offset or --x-tilt"
            )
        if checked_integer("binned_slices", self.binned_slices) < 1:
            raise UsageError(f"binned_slices {self.binned_slices} must be 1 or more")
        optics = PhaseContrastRequest(self.kv, self.alpha, self.cs).optics(session, like, volume.pixel_A)
        defocus_A: Any = ANGSTROM_PER_UM * np.asarray(like.views.defocus_um)
        check_defoci(like.name, defocus_A, optics, like.shape[1:], volume.pixel_A)
        device = multislice_device(session, gpu=use_gpu(session))
        self._memory_budget(session, volume, like, optics, device).check(session)
        with session.reporter.progress(len(like), "projecting") as advance:
            images = phase_contrast_images(
                load_images(session, volume, copies=COPIES),
                like.tilt_deg,
                defocus_A,
                optics,
                pixel_A=volume.pixel_A,
                binned_slices=self.binned_slices,
                threads=session.threads,
                device=device,
                progress=advance,
            )
        write(0, images)

    def _memory_budget(
        self,
        session: Session,
        volume: Volume,
        like: TiltSeries,
        optics: PhaseContrastOptics,
        device: Device,
    ) -> MemoryBudget:
        """Memory budget of the projection: volumes, images and waves."""
        nz, ny, nx = volume.shape
        waves = bytes_besides_volumes(
            like.tilt_deg,
            ANGSTROM_PER_UM * np.asarray(like.views.defocus_um),
            optics,
            image=(ny, nx),
            pixel_A=float(volume.pixel_A or 0),
            shape=(nz, nx, ny),
            binned_slices=self.binned_slices,
            threads=session.threads,
            device=device,
        )
        resident = COPIES * prod(volume.shape) + prod(like.shape) + waves // 4
        return MemoryBudget(0, resident, Path(), device)
