"""Half-sets: two volumes from every second view each, and their Fourier shell correlation."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import ceil, isfinite, prod

from etcli.core.arguments import listed
from etcli.core.errors import UsageError
from etcli.core.half_set_correlation import half_set_correlation
from etcli.core.quality import FSC
from etcli.core.solvers.methods import MethodParameters
from etcli.core.view_subsets import halves
from etcli.io.keyed_folder import KeyedFolder
from etcli.io.writers import ProcessingStep
from etcli.pipeline.half_set_words import report_half_sets
from etcli.pipeline.reconstruction_task import Task
from etcli.pipeline.session import Session
from etcli.pipeline.volume_output import EVEN, ODD, Destination, VolumeLayout
from etcli.pipeline.written_volume import write_volume

COPIES = 5  # two volumes, their transforms, and the memory to compute one


def check_half_sets(session: Session, n_views: int, shape: tuple[int, ...]) -> None:
    """Check before the computation that half-sets are possible and fit into the memory; raise UsageError."""
    if n_views < 4:
        raise UsageError(f"{n_views} views cannot be halved; leave --half-sets out")
    if min(shape) < 2:
        raise UsageError(
            f"half-sets of {' x '.join(map(str, shape[::-1]))} voxels cannot be correlated in shells; make "
            "at least two --slices, or leave --half-sets out"
        )
    n_voxels = prod(shape)
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
    masked: bool = False,
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
    masked : bool
        Whether the task has a mask.

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
    pixel_A = layout.series.pixel_A
    shells = half_set_correlation(*volumes, pixel_A=pixel_A or 1.0, wedge_deg=layout.wedge_deg)
    report_half_sets(session, shells, pixel_A, layout.wedge_deg)
    if shared := _shared_assumptions(parameters, masked=masked):
        session.reporter.report(
            f"they share {listed(shared)}, so that they agree better than the views do; for a resolution to "
            "quote, leave that out"
        )
    return shells


def _shared_assumptions(parameters: MethodParameters, *, masked: bool) -> list[str]:
    """Return what both halves assume of the specimen, by the names of the options."""
    has_prior = parameters.looks_at("prior") and parameters.prior != "none"
    return [
        name
        for name, is_shared in (
            (f"--prior {parameters.prior}", has_prior),
            ("densities above zero", isfinite(parameters.lower)),
            ("--upper", parameters.looks_at("upper") and isfinite(parameters.upper)),
            ("--levels", bool(parameters.levels)),
            ("--mask", masked),
        )
        if is_shared
    ]
