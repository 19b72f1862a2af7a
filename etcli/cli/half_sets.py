"""Two volumes from every second view each, and how far they agree."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil, isfinite
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from etcli.cli.inputs import whole
from etcli.cli.options import Settings
from etcli.cli.volumes import volume_output
from etcli.core.errors import UsageError

if TYPE_CHECKING:
    from etcli.cli.tasks import Task
    from etcli.core.geometry import SlabGeometry
    from etcli.core.quality import FSC
    from etcli.core.recipes import Recipe
    from etcli.core.slabs import Store
    from etcli.io.outputs import Outputs
    from etcli.io.save import Step
    from etcli.io.stack import Stack

TAPER = 0.1  # share of a side
COPIES = 5  # two volumes, their transforms, and room to make one


def half_names(target: str) -> list[str]:
    """Return the names of the volumes from the odd and the even views."""
    path = PurePath(target)
    return [str(path.with_name(f"{path.stem}_{half}{path.suffix}")) for half in ("odd", "even")]


def check_half_sets(settings: Settings, n_views: int, n_voxels: int) -> None:
    """Refuse halves that could not be made, or compared, in the end."""
    if n_views < 4:
        raise UsageError(f"{n_views} views cannot be halved; leave --half-sets out")
    if 4 * COPIES * n_voxels > settings.memory:
        raise UsageError(
            f"to compare the half-sets takes {ceil(4 * COPIES * n_voxels / (1 << 20))}M of memory, but only "
            f"{settings.memory >> 20}M are allowed; allow more, or make the volume thinner"
        )


def half_sets(
    settings: Settings,
    outputs: "Outputs",
    target: str,
    stack: "Stack",
    geometry: "SlabGeometry",
    task: "Task",
    recipe: "Recipe",
    *,
    stores: "Sequence[Store | None]",
    dask: str | None,
    orient: str,
    upright: bool,
    step: Callable[["Recipe", int], "Step"],
    **layout: Any,
) -> "FSC":
    """Reconstruct the odd and the even views in the order of tilt, and correlate the two volumes.

    Parameters
    ----------
    settings : Settings
    outputs : Outputs
        Where the two volumes are announced, as STEM_odd and STEM_even.
    target : str
        The volume of all views.
    stack, geometry, task : Stack, SlabGeometry, Task
        The views, the slices, and what is to be done.
    recipe : Recipe
        As for all views; the weight of a prior is halved with the number of views.
    stores : sequence of Store or None
        Where finished slabs of the two are kept.
    dask : str or None
        As for `etcli.cli.cluster.workers`.
    orient : {"zyx", "imod"}
        Order of axes.
    upright : bool
        Whether all views are tilted about the vertical axis only, so that the missing wedge is known.
    step : callable
        Says what is done with a number of views, for the history.
    **layout
        As for `etcli.cli.volumes.volume_output`.

    Returns
    -------
    FSC
        Without the missing wedge, where that is known.
    """
    import numpy as np

    from etcli.core.quality import fourier_shell_correlation, resolution_A
    from etcli.core.registration.spectra import fade
    from etcli.io.stack import open_stack

    order = np.argsort(stack.tilt_deg, kind="stable")
    volumes = []
    recipe = replace(recipe, weight=recipe.weight / 2)
    for half, first, store in zip(half_names(target), (0, 1), stores, strict=True):
        chosen = np.sort(order[first::2])
        what = step(recipe, len(chosen))
        with volume_output(outputs, half, stack, geometry, orient=orient, step=what, **layout) as write:
            task.of_views(chosen).run(settings, recipe, write, store=store, dask=dask)
        volumes.append(whole(settings, open_stack(str(outputs.part_of(half))), copies=COPIES))
    if orient == "imod":
        volumes = [volume.swapaxes(0, 1)[::-1] for volume in volumes]
    windows = [fade(n, TAPER).astype(np.float32) for n in volumes[0].shape]
    for volume in volumes:
        for axis, window in enumerate(windows):  # or the edges would correlate
            volume *= np.expand_dims(window, [other for other in range(3) if other != axis])
    pixel_A, unit = (stack.pixel_A, "Å") if stack.pixel_A else (1.0, "px")
    shells = fourier_shell_correlation(
        *volumes, pixel_A=pixel_A, tilt_deg=stack.tilt_deg if upright else None
    )
    half, least = (_length(resolution_A(shells, threshold=level), pixel_A, unit) for level in (0.5, 0.143))
    settings.console.report(f"half-sets agree to {half} (Fourier shell correlation 0.5), {least} (0.143)")
    return shells


def _length(found: float | None, pixel_A: float, unit: str) -> str:
    """Say to what length two volumes agree."""
    if found is None:
        return f"better than {2 * pixel_A:.4g} {unit}"
    return f"{found:.4g} {unit}" if isfinite(found) else "nothing"
