"""Elementwise loops and sums of the solvers, on the CPU or the GPU.

Each loop is written twice: as a Python function, compiled by numba, and as a CUDA kernel with the same name
and arguments in ``steps.cu``. The device of its first argument decides which one runs.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.jit import jit

SOURCE = Path(__file__).with_name("steps.cu")


def step(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Create the decorator of a loop over all elements of the first array, for both devices.

    Parameters
    ----------
    name : str
        Name of the CUDA kernel, which receives three numbers, the shape of the first array, before the
        arguments.

    Returns
    -------
    callable
        Decorator of a function for numba that modifies arrays and returns nothing.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        compiled = jit(function)

        @wraps(function)
        def run(first: Any, *others: Any) -> None:
            if isinstance(first, np.ndarray):
                compiled(first, *others)
                return
            from etcli.core.gpu import run_step

            run_step(SOURCE, name, first, others)

        return run

    return decorate


def summing_step(name: str, *, by_slice: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Create the decorator of a loop that returns a sum, for both devices.

    Parameters
    ----------
    name : str
        Name of the CUDA kernel, which receives the shape of the first array, an array of partial sums and
        their number before the arguments. Its n-th thread sums all elements whose index is n modulo that
        number.
    by_slice : bool
        Whether to sum each slice separately, that is, to keep the last axis.

    Returns
    -------
    callable
        Decorator of a function for numba that returns a float64, or an array of them.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        compiled = jit(function)

        @wraps(function)
        def run(first: Any, *others: Any) -> Any:
            if isinstance(first, np.ndarray):
                return compiled(first, *others)
            from etcli.core.gpu import run_sum

            sums = run_sum(SOURCE, name, first, others)
            return sums if by_slice else float(sums.sum())

        return run

    return decorate


def run_kernel(name: str, first: Any, *others: Any) -> None:
    """Run a CUDA kernel without a counterpart on the host, where the work is divided differently."""
    from etcli.core.gpu import run_step

    run_step(SOURCE, name, first, others)


def on_host(array: Any) -> NDArray[Any]:
    """Return the array in host memory: a copy if it is on the GPU, else the array itself."""
    if isinstance(array, np.ndarray):
        return array
    from etcli.core.gpu import GPU

    return GPU.get(array)


def on_device_of(array: Any, values: Any) -> Any:
    """Return values of the host or of any device in the memory that holds an array."""
    if isinstance(array, np.ndarray):
        return on_host(values)
    from etcli.core.gpu import GPU

    return GPU.put(values)


def norm(array: Any) -> float:
    """Return the norm of an array."""
    return float(np.linalg.norm(array)) if isinstance(array, np.ndarray) else float(np.sqrt(square(array)))


def square(array: Any) -> float:
    """Return the squared norm of an array."""
    if isinstance(array, np.ndarray):
        return float(np.vdot(array, array))
    from etcli.core.gpu import run_sum

    return float(run_sum(SOURCE, "squares", array, ()).sum())
