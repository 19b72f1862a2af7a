"""A stand-in for CuPy where there is no GPU: NumPy underneath, and kernels compiled by g++.

It knows what etcli uses and is as strict as CuPy, or stricter: arrays of the host and of the "GPU" do not
mix, what NumPy functions it takes CuPy takes as well, and the arguments of a kernel must have the types that
its source declares. New memory is full of NaN, and so is what lies around it.
"""

from weakref import finalize

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from . import cuda, fft
from ._kernels import RawModule

__all__ = ["RawModule", "asarray", "asnumpy", "cuda", "empty", "fft", "get_default_memory_pool", "ndarray"]

GUARD = 64
"""Numbers around an array."""
FUNCTIONS = {
    np.clip, np.copyto, np.linalg.norm, np.stack, np.vdot, np.where,
    np.fft.fft2, np.fft.ifft2, np.fft.irfft, np.fft.rfft,
}  # fmt: skip


class Memory:
    """What is taken of the memory."""

    used = peak = 0
    total = 4 << 30

    @classmethod
    def take(cls, n_bytes):
        cls.used += n_bytes
        cls.peak = max(cls.peak, cls.used)

    @classmethod
    def give(cls, n_bytes):
        cls.used -= n_bytes

    @staticmethod
    def free_bytes():
        return 0


def unwrapped(value):
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("an array of the host among those of the GPU")
    if isinstance(value, tuple | list):
        return type(value)(map(unwrapped, value))
    return value


def unwrapped_key(key):
    keys = key if isinstance(key, tuple) else (key,)
    keys = tuple(each._host if isinstance(each, ndarray) else each for each in keys)
    return keys if isinstance(key, tuple) else keys[0]


def wrapped(value):
    if isinstance(value, np.ndarray | np.generic):
        return ndarray(np.asarray(value))
    return type(value)(map(wrapped, value)) if isinstance(value, tuple | list) else value


class ndarray(NDArrayOperatorsMixin):
    def __init__(self, host):
        self._host = host
        if host.base is None:
            Memory.take(host.nbytes)
            finalize(self, Memory.give, host.nbytes)

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    flags = property(lambda self: self._host.flags)
    T = property(lambda self: wrapped(self._host.T))
    real = property(lambda self: wrapped(self._host.real))
    imag = property(lambda self: wrapped(self._host.imag))

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **how):
        assert method == "__call__"
        assert "where" not in how  # CuPy knows it only since version 13
        if out is not None:
            how["out"] = unwrapped(out)
        found = wrapped(getattr(ufunc, method)(*map(unwrapped, inputs), **how))
        return found if out is None else out[0]

    def __array_function__(self, function, types, args, kwargs):
        if function not in FUNCTIONS:
            raise TypeError(f"the stand-in for CuPy does not know {function.__name__}")
        kwargs = {name: unwrapped(value) for name, value in kwargs.items()}
        return wrapped(function(*map(unwrapped, args), **kwargs))

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return map(wrapped, self._host) if self.ndim > 1 else (ndarray(np.asarray(x)) for x in self._host)

    def __getitem__(self, key):
        return wrapped(self._host[unwrapped_key(key)])

    def __setitem__(self, key, value):
        self._host[unwrapped_key(key)] = unwrapped(value)

    def __float__(self):
        return float(self._host)

    def __bool__(self):
        return bool(self._host)


def _method(name):
    def call(self, *args, **kwargs):
        return wrapped(getattr(self._host, name)(*args, **kwargs))

    return call


for _name in (
    "reshape", "transpose", "swapaxes", "ravel", "astype", "conj", "copy", "sum", "max", "any", "all",
):  # fmt: skip
    setattr(ndarray, _name, _method(_name))


def empty(shape, dtype=float):
    """Return an array that nobody has written to."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape))
    guarded = np.empty(size + 2 * GUARD, dtype)
    guarded[:] = np.nan if dtype.kind in "fc" else 1
    start = (-guarded.ctypes.data // dtype.itemsize) % 16
    array = ndarray(guarded[start + 16 : start + 16 + size].reshape(shape))
    Memory.take(array.nbytes)
    finalize(array, Memory.give, array.nbytes)
    return array


def zeros(shape, dtype=float):
    array = empty(shape, dtype)
    array._host[...] = 0
    return array


def asarray(array):
    if isinstance(array, ndarray):
        return array
    made = empty(array.shape, array.dtype)
    made._host[...] = array
    return made


def asnumpy(array):
    return array._host.copy() if isinstance(array, ndarray) else np.asarray(array)


def get_default_memory_pool():
    return Memory
