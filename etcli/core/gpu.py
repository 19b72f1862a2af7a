"""The GPU: its memory, and kernels written in CUDA C. The only module that imports CuPy, and only when used.

Kernels are in ``.cu`` files beside the modules that use them. They are compiled for the GPU in use at their
first call; CuPy keeps the result in the user's cache folder.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import local
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError

Array = Any
"""An array on the GPU, which NumPy functions accept as well."""
HostDevice = NDArray[Any]

KEPT_FREE = 0.15
"""Share of the free memory that is left to libraries and the compiler."""
THREADS = 256
"""Default number of threads of a block."""
PARTS = 4096
"""Largest number of partial sums of a slice; it must not depend on the number of slices."""
WIDTHS: Mapping[int, float] = MappingProxyType({16: 1.0, 32: 1.2, 64: 1.7, 128: 3.0})
"""Possible numbers of slices of a slab, with the expected relative time: narrow slabs leave the GPU idle."""

_thread_local = local()


def why_no_gpu() -> str | None:
    """Return the reason why no GPU can be used, if there is one.

    Returns
    -------
    str or None
        What is missing and what to do; None where a GPU is ready.
    """
    try:
        import cupy
    except ImportError:
        return (
            "the package cupy is missing; python -m pip install 'cupy-cuda12x[ctk]', or 'cupy-cuda13x[ctk]' "
            "for drivers of CUDA 13"
        )
    except Exception as error:  # a damaged installation fails in many ways
        return f"the package cupy does not load ({_first_line(error)}); install it anew"
    try:
        if cupy.cuda.runtime.getDeviceCount():
            return None
    except Exception as error:  # its class belongs to CuPy
        return f"CUDA finds no NVIDIA GPU ({_first_line(error)}); see what nvidia-smi says"
    return "CUDA finds no NVIDIA GPU here; see what nvidia-smi and CUDA_VISIBLE_DEVICES say"


def gpu_name() -> str:
    """Return the name of the GPU in use."""
    import cupy

    name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())["name"]
    return str(name.decode() if isinstance(name, bytes) else name)


class GpuDevice:
    """The memory of the GPU in use, as an `etcli.core.projectors.Device`."""

    name = "GPU"
    widths = WIDTHS

    def empty(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
        """Return an uninitialised array."""
        import cupy

        return cupy.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...]) -> Array:
        """Return an array of zeros, float32."""
        import cupy

        return cupy.zeros(shape, np.float32)

    def put(self, array: HostDevice) -> Array:
        """Copy an array to the GPU."""
        import cupy

        return cupy.asarray(array)

    def get(self, array: Array) -> HostDevice:
        """Copy an array from the GPU."""
        import cupy

        host: HostDevice = cupy.asnumpy(array)
        return host

    def to_slab(self, rows: HostDevice) -> Array:
        """Copy slices to the GPU in the order of slabs, as `etcli.core.projectors.slab.to_slab`."""
        n, n_slices, nx = rows.shape
        width = next((width for width in self.widths if width >= n_slices), max(self.widths))
        if n_slices > width:
            raise UsageError(f"{n_slices} slices do not fit into a slab of {width}")
        slab = self.empty((n, nx, width)) if n_slices == width else self.zeros((n, nx, width))
        slab[..., :n_slices] = self.put(rows).transpose(0, 2, 1)
        return slab

    def from_slab(self, slab: Array, n_slices: int) -> NDArray[np.float32]:
        """Copy slices from the GPU in the order of files."""
        n, nx, _ = slab.shape
        rows = self.empty((n, n_slices, nx))
        rows[...] = slab[..., :n_slices].transpose(0, 2, 1)
        return self.get(rows)

    def free_bytes(self) -> int:
        """Return the GPU memory available to arrays, in bytes."""
        import cupy

        free, _ = cupy.cuda.runtime.memGetInfo()
        return int((1 - KEPT_FREE) * (free + cupy.get_default_memory_pool().free_bytes()))

    @contextmanager
    def session(self) -> Iterator[None]:
        """Run the work of this thread on its own CUDA stream, and wait for it at the end."""
        import cupy

        if not hasattr(_thread_local, "stream"):
            _thread_local.stream = cupy.cuda.Stream(non_blocking=True)
        with _thread_local.stream:
            yield
        _thread_local.stream.synchronize()


GPU = GpuDevice()


def run(source: Path, name: str, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any) -> None:
    """Run a kernel.

    Parameters
    ----------
    source : Path
        File of CUDA C.
    name : str
        Name of the kernel.
    grid, block : tuple of int
        Numbers of blocks, and of threads of a block.
    *arguments
        Arrays on the GPU, C-contiguous; integers are passed as ``int``, other numbers as ``float``.
    """
    _module(source).get_function(name)(grid, block, tuple(map(_argument, arguments)))


def run_step(source: Path, name: str, first: Array, others: tuple[Any, ...]) -> None:
    """Run a kernel with one thread per element of the first array; the kernel gets that array's shape first.

    Parameters
    ----------
    source : Path
        File of CUDA C.
    name : str
        Name of the kernel.
    first : array
        First array, with one to three axes.
    others : tuple
        Further arguments; small arrays of the host are copied to the GPU.
    """
    arguments = [first, *(GPU.put(each) if isinstance(each, np.ndarray) else each for each in others)]
    run(source, name, (blocks(first.size, THREADS),), (THREADS,), *_shape(first), *arguments)


def run_sum(source: Path, name: str, first: Array, others: tuple[Any, ...]) -> NDArray[np.float64]:
    """Run a kernel that sums all elements of an array, always in the same order.

    Parameters
    ----------
    source, name, first, others
        As for `run_step`.

    Returns
    -------
    ndarray of shape (n_slices,), float64
        Sum of each slice, on the host; an array with one axis counts as one slice.
    """
    n_slices = first.shape[-1] if first.ndim > 1 else 1
    parts = min(max(first.size // n_slices, 1), PARTS)
    partial = GPU.empty((parts, n_slices), np.float64)
    arguments = [GPU.put(each) if isinstance(each, np.ndarray) else each for each in others]
    grid = (blocks(partial.size, THREADS),)
    run(source, name, grid, (THREADS,), *_shape(first), partial, partial.size, first, *arguments)
    return GPU.get(partial.sum(axis=0))


def fixed_point(values: NDArray[np.float64]) -> Array:
    """Convert numbers to fixed point with 32 fractional bits, on the GPU."""
    return GPU.put(np.rint(values * 2.0**32).astype(np.int64))


def checked(array: Array, shape: tuple[int, ...], name: str) -> Array:
    """Return the array if kernels can read it; raise UsageError otherwise.

    Raises
    ------
    UsageError
        When it is not contiguous, not float32 or of another shape.
    """
    if array.shape != shape or array.dtype != np.float32 or not array.flags.c_contiguous:
        raise UsageError(
            f"{name}: expected contiguous float32 of shape {shape}, not {array.dtype} of shape {array.shape}"
        )
    return array


def blocks(n: int, size: int) -> int:
    """Return the number of blocks of ``size`` threads that hold ``n`` threads."""
    return -(-n // size)


def _shape(array: Array) -> tuple[int, ...]:
    """Return the shape of an array, padded with leading ones to three axes."""
    return (*(1,) * (3 - array.ndim), *array.shape)


def _argument(value: Any) -> Any:
    """Convert a number to the type that kernels expect; return arrays unchanged."""
    if isinstance(value, int | np.integer):
        return np.int32(value)
    if isinstance(value, float | np.floating):
        return np.float32(value)
    assert value.flags.c_contiguous
    return value


@cache
def _module(source: Path) -> Any:
    """Compile the kernels of a file."""
    import cupy

    return cupy.RawModule(code=source.read_text(encoding="utf-8"), options=("--std=c++14",))


def _first_line(error: Exception) -> str:
    """Return the first line of the message of an error."""
    return next(iter(str(error).splitlines()), type(error).__name__)
