"""Compilation of the fast kernels: one place for numba's flags and its cache on disk.

numba is imported when the first kernel is decorated, so this module costs nothing to import.
"""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from etcli import __version__

_cache_folder_lock = Lock()
"""Held while numba's global setting of the cache folder is changed."""


def cache_folder() -> Path:
    """Return the folder of the compiled kernels, which may not exist yet.

    Returns
    -------
    Path
        ``NUMBA_CACHE_DIR`` where the user has set it, else ``etcli/numba/VERSION`` in the user's cache
        folder (``XDG_CACHE_HOME``, by default ``~/.cache``).
    """
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return Path(chosen)
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 (never raises)
    return Path(root) / "etcli" / "numba" / __version__


def kernels_cached() -> bool:
    """Check whether this user has already compiled the projection kernels of this version.

    Returns
    -------
    bool
        False when the first reconstruction will have to wait some seconds for the compiler.
    """
    try:
        return any(cache_folder().glob("*/_kernels.*.nbc"))
    except OSError:
        return False


def jit(function: Callable[..., Any]) -> Any:
    """Compile a function to machine code that releases the interpreter lock; cache it on disk where possible.

    Parameters
    ----------
    function : callable
        Function to compile, at its first call, for the types of that call. Values it closes over must be
        plain numbers, or another process would not find the compiled code. Functions that it calls must be in
        its own file or in a module of the same folder with a leading underscore, or changes to them would go
        unnoticed.

    Returns
    -------
    numba dispatcher
        The compiled function. Floating-point arithmetic follows IEEE 754, division by zero included.
    """
    import numba

    dispatcher = numba.njit(nogil=True, error_model="numpy")(function)
    with _cache_folder_lock:
        folder = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(cache_folder())
        try:
            with suppress(RuntimeError):  # no folder is writable: compile in every process
                dispatcher._cache = _cache_class()(function)
        finally:
            numba.config.CACHE_DIR = folder
    return dispatcher


def inline(function: Callable[..., Any]) -> Any:
    """Compile a function so that it is inlined into the kernels that call it.

    Parameters
    ----------
    function : callable
        Function to compile, together with each of its callers.

    Returns
    -------
    numba dispatcher
        The function, for use in kernels.
    """
    import numba

    return numba.njit(error_model="numpy", forceinline=True)(function)


@cache
def _cache_class() -> Any:
    """Create a numba cache class that detects changes in neighbouring files and tolerates a full disk."""
    from numba.core.caching import FunctionCache
    from numba.core.runtime import rtsys

    class Cache(FunctionCache):  # type: ignore[misc]
        def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
            folder = Path(self._py_func.__code__.co_filename).parent
            return (*super()._index_key(sig, codegen), _digest(folder))

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            # numba would initialise its whole compiler, which takes 0.2 s; here only its runtime is needed
            rtsys.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                return self._load_overload(sig, target_context)

        def save_overload(self, sig: Any, data: Any) -> None:
            with suppress(OSError):
                super().save_overload(sig, data)

    return Cache


@cache
def _digest(folder: Path) -> str:
    """Compute the hash of the private modules of a folder: kernels, and functions compiled into them."""
    sources = sorted(folder.glob("_[!_]*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
