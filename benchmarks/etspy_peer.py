"""Registration of a tilt series by ETSpy (NIST), run as its users would.

It runs in the interpreter where ETSpy is installed, and does the whole job from file to file:

    python benchmarks/etspy_peer.py StackReg IN.mrc TILTS.rawtlt OUT.xf --registered OUT.rpl

ETSpy wants the tilt axis along x, so IN.mrc is the series turned by a quarter: its pixel (x, y) is the pixel
(X, Y) = (y, nx - 1 - x) of the series with the axis along y. OUT.xf is for the latter.
"""

import argparse
from pathlib import Path

import hyperspy.api as hs
import numpy as np
from etspy.api import TomoStack

METHODS = {
    "PC": {"method": "PC"},
    "PC-20": {"method": "PC", "upsample_factor": 20},
    "median+PC": {"method": "PC"},
    "COM": {"method": "COM"},
    "COM-CL": {"method": "COM-CL"},
    "StackReg": {"method": "StackReg"},
    "median+StackReg": {"method": "StackReg"},
}
"""Arguments of TomoStack.stack_register; median+ is TomoStack.filter before, all else as it comes."""


def load(series: Path, tilts: Path) -> TomoStack:
    """Read a series as etspy.load does, which finds no angles for plain MRC files."""
    stack = TomoStack(hs.load(series), np.loadtxt(tilts))
    stack.change_data_type("float32")
    lowest = stack.data.min()
    if lowest < 0:
        stack.data -= lowest
    return stack


def rows_of_xf(stack: TomoStack) -> np.ndarray:
    """Return what was done to the views, for the series with its axis along y: A11 A12 A21 A22 DX DY.

    ETSpy moves the content of a view by ``shifts`` (y, x), then turns it about pixel n / 2 and moves it by
    -yshift in y. With X = y and Y = -x from the middle, turns are the same in both frames.
    """
    done = stack.metadata.Tomography
    angle = np.deg2rad(done.tiltaxis)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    from_middle = np.full(2, 0.5)
    moved = from_middle - turn @ from_middle + [done.xshift, -done.yshift]
    shift = stack.shifts.data.reshape(-1, 2)[:, ::-1] @ turn.T + moved  # (x, y) in ETSpy's frame
    rows = np.empty((len(shift), 6))
    rows[:, :4] = turn.ravel()
    rows[:, 4:] = np.stack([shift[:, 1], -shift[:, 0]], axis=1)
    return rows


def main() -> None:
    """Register, find the axis if asked to, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("series", type=Path)
    parser.add_argument("tilts", type=Path)
    parser.add_argument("xf", type=Path)
    parser.add_argument("--axis", choices=("CoM", "MaxImage"), help="also find the tilt axis")
    parser.add_argument("--registered", type=Path, help="write the views as well")
    args = parser.parse_args()
    stack = load(args.series, args.tilts)
    if args.method.startswith("median"):
        stack = stack.filter("median", taper=0)  # a rim of zeros would be an edge
    stack = stack.stack_register(**METHODS[args.method])
    if args.axis:
        stack = stack.tilt_align(args.axis)
    np.savetxt(args.xf, rows_of_xf(stack), "%12.7f")
    if args.registered:
        stack.save(args.registered, overwrite=True)


if __name__ == "__main__":
    main()
