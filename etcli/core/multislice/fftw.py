"""Plans of the FFTW library for the small Fourier transforms of waves.

FFTW comes with the package pyFFTW. Its functions are called directly, because compiled code can then make
thousands of transforms of some microseconds without the interpreter.
"""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from threading import RLock
from typing import Any
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

FORWARD, BACKWARD = -1, 1
_ESTIMATE = 1 << 6
"""Plans are chosen by rules and not by measurements of time, so that every run gives the same digits."""
PADDING = 8
"""Complex numbers between rows at least: rows at multiples of 2 KiB would share cache lines."""
_planner = RLock()


@dataclass(frozen=True, eq=False)
class Plan:
    """Plan of one-dimensional transforms of the columns of an array into the rows of another one.

    Parameters
    ----------
    execute, plan, source, target : int
        Addresses: of the function of FFTW that runs the plan, of the plan, and of the first element that is
        read and written.
    """

    execute: int
    plan: int
    source: int
    target: int


@cache
def _library() -> Any:
    """Load FFTW in single precision; None where it is not installed."""
    for name in _candidates():
        try:
            library = ctypes.CDLL(name)
            library.fftwf_plan_many_dft.restype = ctypes.c_void_p
        except (OSError, AttributeError):
            continue
        integer, pointer = ctypes.c_int, ctypes.c_void_p
        library.fftwf_plan_many_dft.argtypes = [
            integer, pointer, integer,
            pointer, pointer, integer, integer,
            pointer, pointer, integer, integer,
            integer, ctypes.c_uint,
        ]  # fmt: skip
        library.fftwf_destroy_plan.argtypes = [pointer]
        return library
    return None


def _candidates() -> Iterator[str]:
    """Yield the possible places of the library: that of pyFFTW's wheels first, then those of the system."""
    from ctypes.util import find_library
    from importlib.util import find_spec

    spec = find_spec("pyfftw")
    if spec and spec.origin:
        package = Path(spec.origin).parent
        folders = package.with_name("pyfftw.libs"), package / ".dylibs", package
        files = chain.from_iterable(sorted(folder.glob("*fftw3f*")) for folder in folders)
        yield from (str(file) for file in files if not {"omp", "threads"} & set(_words(file.name)))
    found = find_library("fftw3f")
    if found:
        yield found


def _words(name: str) -> list[str]:
    """Return the words of a file name."""
    return name.replace("-", " ").replace("_", " ").replace(".", " ").split()


def fftw_is_there() -> bool:
    """Check whether FFTW can be used."""
    return _library() is not None


def aligned_zeros(n_rows: int, n_columns: int) -> NDArray[np.complex64]:
    """Create an array of zeros whose rows begin at multiples of 64 bytes and at different cache lines.

    Parameters
    ----------
    n_rows, n_columns : int
        Rows, and columns that are used; rows are longer, by `PADDING` at least.

    Returns
    -------
    ndarray of shape (n_rows, pitch), complex64
    """
    pitch = -(-n_columns // 8) * 8 + PADDING
    room = np.zeros(n_rows * pitch + 8, np.complex64)
    skipped = -room.ctypes.data % 64 // 8
    return room[skipped : skipped + n_rows * pitch].reshape(n_rows, pitch)


def plan_columns(
    source: NDArray[np.complex64],
    target: NDArray[np.complex64],
    *,
    length: int,
    columns: slice,
    first_row: int,
    sign: int,
) -> Plan:
    """Plan the transform of some columns of an array into rows of another, which transposes them.

    Parameters
    ----------
    source, target : ndarray, complex64
        Of `aligned_zeros`; the plan holds for these arrays only.
    length : int
        Number of rows of ``source``, and of columns of ``target``.
    columns : slice
        Columns of ``source`` to transform.
    first_row : int
        Row of ``target`` for the first of them.
    sign : {FORWARD, BACKWARD}
        Direction; neither divides by the number of elements.

    Returns
    -------
    Plan
    """
    library = _library()
    begin = source.ctypes.data + 8 * columns.start
    end = target.ctypes.data + 8 * target.shape[1] * first_row
    n = (ctypes.c_int * 1)(length)
    with _planner:  # FFTW makes one plan at a time
        address = library.fftwf_plan_many_dft(
            1, n, columns.stop - columns.start,
            begin, None, source.shape[1], 1,
            end, None, 1, target.shape[1],
            sign, _ESTIMATE,
        )  # fmt: skip
    execute = ctypes.cast(library.fftwf_execute_dft, ctypes.c_void_p).value
    assert address and execute
    plan = Plan(execute, address, begin, end)
    finalize(plan, _destroy, library, address)
    return plan


def _destroy(library: Any, address: int) -> None:
    """Free a plan; this uses the planner as well."""
    with _planner:
        library.fftwf_destroy_plan(address)
