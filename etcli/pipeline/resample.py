"""Resampling of series: each view is transformed by a single interpolation."""

from dataclasses import replace
from typing import Any

import numpy as np

from etcli.core.registration.transforms import Transforms, resample_stack
from etcli.core.series import TiltSeries
from etcli.io.writers import Writer
from etcli.pipeline.session import Session


def write_resampled(
    session: Session, writer: Writer, series: TiltSeries, transforms: Transforms, *, what: str, **options: Any
) -> None:
    """Resample the views and write them one by one; ``options`` are those of `resample_stack`."""
    views = (series.view(k) for k in range(len(series)))
    moved = resample_stack(views, transforms, threads=session.threads, **options)
    for k, view in enumerate(session.track(moved, len(series), what)):
        writer.write_section(k, view)


def resampled(
    session: Session, series: TiltSeries, transforms: Transforms, *, what: str, **options: Any
) -> TiltSeries:
    """Return the series with transformed views, in memory; ``options`` are those of `resample_stack`."""
    ny, nx = options.get("shape") or series.shape[1:]
    collected = _MemoryWriter(np.empty((len(series), ny, nx), np.float32))
    write_resampled(session, collected, series, transforms, what=what, **options)
    views = replace(series.views, section=np.arange(len(series)))
    return replace(series, data=collected.data, views=views)


class _MemoryWriter:
    """Writer of images into an array in memory."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def write_section(self, z: int, section: Any) -> None:
        """Store section ``z``."""
        self.data[z] = section

    def write_rows(self, y0: int, block: Any, *, z0: int = 0) -> None:
        """Store rows from ``y0`` on of the sections from ``z0`` on."""
        self.data[z0 : z0 + block.shape[0], y0 : y0 + block.shape[1]] = block


def without_orientations(session: Session, series: TiltSeries, transforms: Transforms) -> TiltSeries:
    """Return the series without its Euler angles if transforms rotate the views; warn of the loss."""
    if series.views.euler_deg is None or np.allclose(transforms.matrix, np.eye(2), rtol=0, atol=1e-6):
        return series
    session.reporter.warn(
        f"{series.name}: its Euler angles are not valid for the rotated views and are dropped; only the "
        "tilt angles are kept"
    )
    return series.with_tilts(series.tilt_deg, series.tilts_source)
