"""Call of a plan of the FFTW library from compiled code, without the interpreter."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_BYTES = ir.IntType(8).as_pointer()


@intrinsic
def run_plan(typing, execute, plan, source, target):  # type: ignore[no-untyped-def]
    """Call ``fftwf_execute_dft(plan, source, target)``.

    ``execute`` is the address of this function, as int64; ``plan``, ``source`` and ``target`` are addresses
    as well. They are arguments and not constants, so that the compiled code can be kept on disk.
    """
    signature = types.void(types.int64, types.int64, types.int64, types.int64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_BYTES] * 3)
        function = builder.inttoptr(args[0], kind.as_pointer())
        builder.call(function, [builder.inttoptr(address, _BYTES) for address in args[1:]])
        return context.get_dummy_value()

    return signature, generate
