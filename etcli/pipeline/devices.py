"""Where to compute: the CPU or a GPU, and whose projectors do it."""

from functools import partial
from typing import Any

from etcli.core.errors import UsageError
from etcli.core.projectors.oriented import OrientedProjector
from etcli.core.projectors.slab import SlabProjector
from etcli.core.reconstruction.slab_plan import ProjectorFactory
from etcli.pipeline.session import Session


def use_gpu(session: Session, *, elsewhere: bool = False) -> bool:
    """Decide for work that a GPU can do whether one does it, and say so to those who ask.

    Parameters
    ----------
    session : Session
        Its device: ``gpu`` is a usage error where there is none.
    elsewhere : bool
        Whether the work is done on other machines, which know better; ``auto`` is the CPU then.

    Returns
    -------
    bool
    """
    wanted = session.device
    if wanted == "cpu" or (wanted == "auto" and elsewhere):
        return False
    if elsewhere:
        return True
    from etcli.core.gpu import gpu_name, why_no_gpu

    reason = why_no_gpu()
    if reason is None:
        session.reporter.note(f"computing on the GPU: {gpu_name()}")
        return True
    if wanted == "gpu":
        raise UsageError(f"--device gpu: {reason}, or use --device cpu")
    session.reporter.note(f"computing on the CPU: {reason}")
    return False


def slab_projector(
    session: Session, *, gpu: bool, kernel: str, backend: str = "slab", weighted: bool = False
) -> ProjectorFactory:
    """Projector factory for slabs.

    Parameters
    ----------
    session : Session
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
        As for `etcli.core.reconstruction.slab_by_slab.reconstruct`.
    """
    make: Any = SlabProjector
    if backend == "astra":
        make = _astra(gpu, session.device == "gpu", kernel)
    elif gpu:
        from etcli.core.projectors.slab_gpu import GpuSlabProjector as make
    if not weighted:
        return partial(make, kernel=kernel)
    from etcli.core.projectors.weighted import WeightedProjector

    return partial(WeightedProjector, kernel=kernel, make=make)


def _astra(gpu: bool, asked: bool, kernel: str) -> Any:
    """Return one of ASTRA's projectors; its own code for a GPU knows the linear kernel only."""
    from etcli.core.projectors.astra import AstraCudaProjector, AstraProjector, astra_available, cuda_usable

    if not astra_available():
        raise UsageError(
            "--backend astra needs the ASTRA toolbox; pip install astra-toolbox, or leave it out"
        )
    if not gpu:
        return AstraProjector
    if kernel == "linear" and cuda_usable():
        return AstraCudaProjector
    if asked:
        reason = "knows --kernel linear only" if kernel != "linear" else "finds no CUDA of its own"
        raise UsageError(f"--backend astra {reason} on a GPU; use --backend slab or --device cpu")
    return AstraProjector


def oriented_projector(gpu: bool) -> type[OrientedProjector]:
    """Projector class for whole volumes and views of any orientation."""
    if gpu:
        from etcli.core.projectors.oriented_gpu import GpuOrientedProjector

        return GpuOrientedProjector
    return OrientedProjector
