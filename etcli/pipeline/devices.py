"""Choice of the device (CPU or GPU) and of the projectors for it."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from etcli.core.errors import UsageError
from etcli.core.multislice.fftw import fftw_is_there
from etcli.core.projectors import Device
from etcli.core.projectors.oriented import OrientedProjector
from etcli.core.projectors.slab import HOST, SlabProjector
from etcli.core.reconstruction.slab_plan import ProjectorFactory
from etcli.core.solvers.methods import POISSON, MethodParameters
from etcli.pipeline.session import Session


class MemoryChecked(Protocol):
    """Task that knows whether it fits into the memory of its device."""

    def check_memory(self, session: Session, parameters: MethodParameters, *, banded: bool = True) -> None:
        """Raise UsageError if it does not fit."""


AnyTask = TypeVar("AnyTask", bound=MemoryChecked)


def use_gpu(session: Session, *, remote: bool = False) -> bool:
    """Decide whether to compute on a GPU, and report it to the session.

    Parameters
    ----------
    session : Session
        Its device: ``gpu`` raises a UsageError where there is none.
    remote : bool
        Whether the computation runs on other machines; ``auto`` is the CPU then.

    Returns
    -------
    bool
    """
    device = session.device
    if device == "cpu" or (device == "auto" and remote):
        return False
    if remote:
        return True
    from etcli.core.gpu import gpu_name, why_no_gpu

    reason = why_no_gpu()
    if reason is None:
        session.reporter.note(f"computing on the GPU: {gpu_name()}")
        return True
    if device == "gpu":
        raise UsageError(f"--device gpu: {reason}, or use --device cpu")
    session.reporter.note(f"computing on the CPU: {reason}")
    return False


def task_for_device(
    session: Session, parameters: MethodParameters, make: Callable[[bool], AnyTask], *, remote: bool = False
) -> AnyTask:
    """Create a task for the device to use.

    Parameters
    ----------
    session : Session
        With the device ``auto``, the CPU is used where the memory of the GPU is too small.
    parameters : MethodParameters
    make : callable
        ``make(gpu)`` creates the task for the CPU or the GPU.
    remote : bool
        As for `use_gpu`.

    Returns
    -------
    object
        What ``make`` returns.
    """
    if parameters.likelihood == POISSON:
        if session.device == "gpu":
            raise UsageError(f"--device gpu is not for --likelihood {POISSON}; leave one of them out")
        return make(False)
    gpu = use_gpu(session, remote=remote)
    task = make(gpu)
    if not gpu or session.device == "gpu":
        return task
    try:
        task.check_memory(session.muted(), parameters)
    except UsageError:
        session.reporter.note("too little memory is free on the GPU; computing on the CPU")
        return make(False)
    return task


def slab_projector(
    session: Session, *, gpu: bool, kernel: str, backend: str = "slab", weighted: bool = False
) -> ProjectorFactory:
    """Projector factory for slabs.

    Parameters
    ----------
    session : Session
        Tells whether a GPU was requested explicitly.
    gpu : bool
        Result of `use_gpu`.
    kernel : {"linear", "strip"}
        Weight of a voxel in a detector pixel.
    backend : {"slab", "astra"}
        Projectors of etcli, or of the ASTRA toolbox.
    weighted : bool
        Whether views have weights.

    Returns
    -------
    callable
        As for `etcli.core.reconstruction.slab_by_slab.reconstruct`.
    """
    projector: Any = SlabProjector
    if backend == "astra":
        projector = _astra_projector(gpu, session.device == "gpu", kernel)
    elif gpu:
        from etcli.core.projectors.slab_gpu import GpuSlabProjector as projector
    if not weighted:
        return partial(projector, kernel=kernel)
    from etcli.core.projectors.weighted import WeightedProjector

    return partial(WeightedProjector, kernel=kernel, make=projector)


def _astra_projector(gpu: bool, gpu_requested: bool, kernel: str) -> Any:
    """Return the ASTRA projector for the device; that for a GPU supports the linear kernel only."""
    from etcli.core.projectors.astra import AstraCudaProjector, AstraProjector, astra_available, cuda_usable

    if not astra_available():
        raise UsageError(
            "--backend astra needs the ASTRA toolbox; pip install astra-toolbox, or leave it out"
        )
    if not gpu:
        return AstraProjector
    if kernel == "linear" and cuda_usable():
        return AstraCudaProjector
    if gpu_requested:
        reason = "knows --kernel linear only" if kernel != "linear" else "finds no CUDA of its own"
        raise UsageError(f"--backend astra {reason} on a GPU; use --backend slab or --device cpu")
    return AstraProjector


def oriented_projector(gpu: bool) -> type[OrientedProjector]:
    """Projector class for whole volumes and views of any orientation."""
    if gpu:
        from etcli.core.projectors.oriented_gpu import GpuOrientedProjector

        return GpuOrientedProjector
    return OrientedProjector


def multislice_device(session: Session, *, gpu: bool) -> Device:
    """Memory of the volume for work by multislice; report if the CPU lacks FFTW."""
    if gpu:
        from etcli.core.gpu import GPU

        return GPU
    if not fftw_is_there():
        session.reporter.report("FFTW is missing, so that this takes longer; pip install pyfftw")
    return HOST
