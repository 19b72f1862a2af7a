"""CUDA C compiled by g++: the very same kernels, thread after thread.

Kernels that exchange numbers between the threads of a block would need more than this.
"""

import ctypes
import hashlib
import os
import re
import subprocess
import tempfile
import threading
from pathlib import Path

import numpy as np

SHIM = """
#include <algorithm>
#include <cmath>
#include <cstring>
using namespace std;
#define __device__
#define __global__ KERNEL_
#define __forceinline__ inline
#define __launch_bounds__(...)
struct Three { unsigned x, y, z; };
static thread_local Three blockIdx, threadIdx, blockDim, gridDim;
struct alignas(16) float4 { float x, y, z, w; };
static inline float4 make_float4(float x, float y, float z, float w) { return float4{x, y, z, w}; }
static inline float __uint_as_float(unsigned bits) { float value; memcpy(&value, &bits, 4); return value; }
"""
LAUNCH = """
extern "C" void launch_{name}(const unsigned *n, void **a) {{
    gridDim = Three{{n[0], n[1], n[2]}}; blockDim = Three{{n[3], n[4], n[5]}};
    for (blockIdx.z = 0; blockIdx.z < n[2]; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < n[1]; ++blockIdx.y)
    for (blockIdx.x = 0; blockIdx.x < n[0]; ++blockIdx.x)
    for (threadIdx.z = 0; threadIdx.z < n[5]; ++threadIdx.z)
    for (threadIdx.y = 0; threadIdx.y < n[4]; ++threadIdx.y)
    for (threadIdx.x = 0; threadIdx.x < n[3]; ++threadIdx.x)
        {name}({arguments});
}}
"""
TYPES = {
    "float": np.float32,
    "float4": np.float32,
    "Shape": np.float32,
    "Frame": np.int64,
    "double": np.float64,
    "int": np.int32,
    "Place": np.int64,
    "bool": np.bool_,
    "unsigned char": np.uint8,
}


class RawModule:
    """Kernels of a source, compiled once and kept in a folder for temporary files."""

    def __init__(self, code, options=()):
        self.kernels = {}
        name = hashlib.sha256((SHIM + LAUNCH + code).encode()).hexdigest()[:24]
        folder = Path(tempfile.gettempdir()) / f"etcli-stand-in-{os.getuid()}"
        folder.mkdir(exist_ok=True)
        source, library = folder / f"{name}.cpp", folder / f"{name}.so"
        text = _gcc(f"{SHIM}{code}", "-E", "-P", "-x", "c++", "-", *options)
        found = re.findall(r"KERNEL_\s+void\s+(\w+)\s*\(([^)]*)\)", text)
        self.declared = {kernel: [_split(each) for each in listed.split(",")] for kernel, listed in found}
        if not library.exists():
            for kernel, parameters in self.declared.items():
                arguments = ", ".join(f"*({kind} *)a[{i}]" for i, (kind, _) in enumerate(parameters))
                text += LAUNCH.format(name=kernel, arguments=arguments)
            own = source.with_suffix(f".{os.getpid()}.{threading.get_ident()}.cpp")
            own.write_text(re.sub(r"\bKERNEL_\b", "", text))
            made = own.with_suffix(".so")
            _gcc("", "-w", "-O2", "-shared", "-fPIC", *options, "-o", str(made), str(own))
            made.replace(library)
            own.replace(source)
        self.library = ctypes.CDLL(str(library))

    def get_function(self, name):
        parameters, launch = self.declared[name], getattr(self.library, f"launch_{name}")

        def call(grid, block, arguments):
            assert len(arguments) == len(parameters), f"{name} takes {len(parameters)} arguments"
            assert all(isinstance(n, int) and n > 0 for n in (*grid, *block)), (grid, block)
            assert np.prod(block) <= 1024
            sizes = [*grid, *(1,) * (3 - len(grid)), *block, *(1,) * (3 - len(block))]
            values = [_value(name, each, *how) for each, how in zip(arguments, parameters, strict=True)]
            places = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
            launch((ctypes.c_uint * 6)(*sizes), places)

        return call


def _gcc(text, *options):
    run = subprocess.run(["g++", *options], input=text, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def _split(parameter):
    """Return the type of a parameter, and the type of numbers it is or points to."""
    kind = re.fullmatch(r"\s*(.*?)\s*\w+\s*", parameter, re.DOTALL).group(1)
    return kind, re.sub(r"\bconst\b|\*|__restrict__", "", kind).strip()


def _value(kernel, argument, kind, plain):
    """Return what is passed by its address, after a look at its type."""
    dtype = np.dtype(TYPES[plain])
    if "*" not in kind:
        assert type(argument) is dtype.type, f"{kernel}: {argument!r} for {kind}"
        return np.array(argument)
    assert argument.dtype == dtype, f"{kernel}: an array of {argument.dtype} for {kind}"
    assert argument.flags.c_contiguous
    address = argument._host.ctypes.data
    assert plain != "float4" or address % 16 == 0
    return np.array(address, np.uint64)
