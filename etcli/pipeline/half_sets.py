"""Half-sets: two volumes from every second view each, and their Fourier shell correlation."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import ceil, isfinite

import numpy as np

from etcli.core.errors import UsageError
from etcli.core.quality import FSC, fourier_shell_correlation, resolution_A
from etcli.core.registration.spectra import fade
from etcli.core.solvers.methods import MethodParameters
from etcli.core.view_subsets import halves
from etcli.io.keyed_folder import KeyedFolder
from etcli.io.writers import ProcessingStep
from etcli.pipeline.reconstruction_task import Task
from etcli.pipeline.session import Session
from etcli.pipeline.volume_output import EVEN, ODD, Destination, VolumeLayout
from etcli.pipeline.written_volume import write_volume

TAPER = 0.1  # fraction of a side
COPIES = 5  # two volumes, their transforms, and the memory to compute one


def check_half_sets(session: Session, n_views: int, n_voxels: int) -> None:
    """Check before the computation that half-sets are possible and fit into the memory; raise UsageError."""
    if n_views < 4:
        raise UsageError(f"{n_views} views cannot be halved; leave --half-sets out")
    if 4 * COPIES * n_voxels > session.memory:
        raise UsageError(
            f"to compare the half-sets takes {ceil(4 * COPIES * n_voxels / (1 << 20))}M of memory, but only "
            f"{session.memory >> 20}M are allowed; allow more, or make the volume thinner"
        )


def half_sets(
    session: Session,
    task: Task,
    parameters: MethodParameters,
    layout: VolumeLayout,
    destination: Destination,
    *,
    stores: Mapping[str, KeyedFolder | None],
    dask: str | None,
    step: Callable[[MethodParameters, int], ProcessingStep],
) -> FSC:
    """Reconstruct the odd and the even views in the order of tilt, and correlate the two volumes.

    Parameters
    ----------
    session : Session
    task : Task
        The reconstruction from all views.
    parameters : MethodParameters
        As for all views; the weight of a prior is halved with the number of views.
    layout : VolumeLayout
        Layout of the volumes.
    destination : Destination
        Receives the volumes.
    stores : mapping of str to KeyedFolder or None
        Folders of what is kept of the two.
    dask : str or None
        As for `etcli.pipeline.dask_cluster.connected_workers`.
    step : callable
        ``step(parameters, n_views)`` returns the processing step for the history.

    Returns
    -------
    FSC
        Computed outside the missing wedge, if all views are tilted about the vertical axis only.
    """
    tilt_deg = layout.series.tilt_deg
    volumes = []
    parameters = replace(parameters, weight=parameters.weight / 2)
    # the defoci of a tilt complete each other
    groups = layout.series.views.groups() if parameters.traits.phase_contrast else None
    for half, chosen in zip((ODD, EVEN), halves(tilt_deg, groups), strict=True):
        part, n_views, store = task.of_views(chosen), len(chosen), stores.get(half)
        if groups is not None:
            session.reporter.report(f"the {half} half-set:")
        write_volume(session, part, parameters, destination, half, n_views, step=step, store=store, dask=dask)
        volumes.append(destination.read(half))
    windows = [fade(n, TAPER).astype(np.float32) for n in volumes[0].shape]
    for volume in volumes:
        for axis, window in enumerate(windows):  # without the taper the edges would correlate
            volume *= np.expand_dims(window, [other for other in range(3) if other != axis])
    pixel_A, unit = (layout.series.pixel_A, "Å") if layout.series.pixel_A else (1.0, "px")
    upright = layout.series.views.rotations(layout.x_tilt_deg) is None
    shells = fourier_shell_correlation(*volumes, pixel_A=pixel_A, tilt_deg=tilt_deg if upright else None)
    half, least = (
        _resolution_words(resolution_A(shells, threshold=level), pixel_A, unit) for level in (0.5, 0.143)
    )
    session.reporter.report(f"half-sets agree to {half} (Fourier shell correlation 0.5), {least} (0.143)")
    return shells


def _resolution_words(found: float | None, pixel_A: float, unit: str) -> str:
    """Return the resolution to which two volumes agree, in words."""
    if found is None:
        return f"better than {2 * pixel_A:.4g} {unit}"
    return f"{found:.4g} {unit}" if isfinite(found) else "nothing"
