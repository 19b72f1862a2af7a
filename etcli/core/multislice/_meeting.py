"""Meetings of threads in compiled code, which wait for each other for microseconds only."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from etcli.core.jit import jit

PATIENCE = 2000
"""Looks at the counter before a thread gives way to others; a few microseconds."""

_COUNT = ir.IntType(64)


@intrinsic
def _arrive(typing, counter):  # type: ignore[no-untyped-def]
    """Add 1 to the counter at an address, visibly to all threads."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.atomic_rmw("add", builder.inttoptr(args[0], _COUNT.as_pointer()), _COUNT(1), "seq_cst")
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def _arrived(typing, counter):  # type: ignore[no-untyped-def]
    """Read the counter at an address, and with it all that other threads wrote before they arrived."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(builder.inttoptr(args[0], _COUNT.as_pointer()), "seq_cst", 8)

    return types.int64(types.int64), generate


@intrinsic
def _call(typing, function):  # type: ignore[no-untyped-def]
    """Call a function without arguments at an address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@jit
def meet(counter, expected, give_way):  # type: ignore[no-untyped-def]
    """Arrive, and wait until the counter has reached the number of arrivals that is expected.

    ``counter`` is the address of an int64, ``give_way`` that of a function which lets other threads run.
    """
    _arrive(counter)
    looks = 0
    while _arrived(counter) < expected:
        looks += 1
        if looks > PATIENCE:
            _call(give_way)
