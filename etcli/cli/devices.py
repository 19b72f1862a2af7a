"""Where to compute: the CPU or a GPU, and whose projectors do it."""

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from etcli.cli.options import Settings

if TYPE_CHECKING:
    from etcli.core.plans import MakeProjector
    from etcli.core.projectors.oriented import OrientedProjector


def use_gpu(settings: Settings, *, elsewhere: bool = False) -> bool:
    """Decide for work that a GPU can do whether one does it, and say so to those who ask.

    Parameters
    ----------
    settings : Settings
        Their device: ``gpu`` is a usage error where there is none.
    elsewhere : bool
        Whether the work is done on other machines, which know better; ``auto`` is the CPU then.

    Returns
    -------
    bool
    """
    wanted = settings.device
    if wanted == "cpu" or (wanted == "auto" and elsewhere):
        return False
    if elsewhere:
        return True
    from etcli.core.gpu import gpu_name, why_no_gpu

    reason = why_no_gpu()
    if reason is None:
        settings.console.note(f"computing on the GPU: {gpu_name()}")
        return True
    if wanted == "gpu":
        raise click.UsageError(f"--device gpu: {reason}, or use --device cpu")
    settings.console.note(f"computing on the CPU: {reason}")
    return False


def slab_projector(
    settings: Settings, *, gpu: bool, kernel: str, backend: str = "slab", weighted: bool = False
) -> "MakeProjector":
    """Return what makes the projectors of slabs.

    Parameters
    ----------
    settings : Settings
        Whether a GPU was asked for.
    gpu : bool
        From `use_gpu`.
    kernel : {"linear", "strip"}
        Weight of a voxel in a detector pixel.
    backend : {"slab", "astra"}
        Whose projectors.
    weighted : bool
        Whether views count differently.

    Returns
    -------
    callable
        As for `etcli.core.slabs.reconstruct`.
    """
    make: Any
    if backend == "astra":
        make = _astra(gpu, settings.device == "gpu", kernel)
    elif gpu:
        from etcli.core.projectors.slab_gpu import GpuSlabProjector as make
    else:
        from etcli.core.projectors.slab import SlabProjector as make
    if not weighted:
        return partial(make, kernel=kernel)
    from etcli.core.projectors.weighted import WeightedProjector

    return partial(WeightedProjector, kernel=kernel, make=make)


def _astra(gpu: bool, asked: bool, kernel: str) -> Any:
    """Return one of ASTRA's projectors; its own code for a GPU knows the linear kernel only."""
    from etcli.core.projectors.astra import AstraCudaProjector, AstraProjector, astra_available, cuda_usable

    if not astra_available():
        raise click.UsageError(
            "--backend astra needs the ASTRA toolbox; pip install astra-toolbox, or leave it out"
        )
    if not gpu:
        return AstraProjector
    if kernel == "linear" and cuda_usable():
        return AstraCudaProjector
    if asked:
        reason = "knows --kernel linear only" if kernel != "linear" else "finds no CUDA of its own"
        raise click.UsageError(f"--backend astra {reason} on a GPU; use --backend slab or --device cpu")
    return AstraProjector


def oriented_projector(gpu: bool) -> "type[OrientedProjector]":
    """Return what makes the projectors of whole volumes for views of any orientation."""
    if gpu:
        from etcli.core.projectors.oriented_gpu import GpuOrientedProjector

        return GpuOrientedProjector
    from etcli.core.projectors.oriented import OrientedProjector

    return OrientedProjector
