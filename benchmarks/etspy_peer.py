"""Registration and reconstruction of a tilt series by ETSpy (NIST), run as its users would.

It runs in the interpreter where ETSpy is installed, and does the whole job from file to file:

    python benchmarks/etspy_peer.py register StackReg IN.mrc TILTS.rawtlt OUT.xf --registered OUT.rpl
    python benchmarks/etspy_peer.py reconstruct IN.npz OUT.npz '{"a": {"method": "SIRT", "iterations": 20}}'

ETSpy wants the tilt axis along x, so IN.mrc is the series turned by a quarter: its pixel (x, y) is the pixel
(X, Y) = (y, nx - 1 - x) of the series with the axis along y. OUT.xf is for the latter.

IN.npz has `views` (view, y, x) with the axis along y, and `tilt_deg`; OUT.npz has by name what
TomoStack.reconstruct gives with the arguments of that name, as slices (y, z, x).
"""

import argparse
import json
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


def register(args: argparse.Namespace) -> None:
    """Register, find the axis if asked to, and write."""
    stack = load(args.series, args.tilts)
    if args.method.startswith("median"):
        stack = stack.filter("median", taper=0)  # a rim of zeros would be an edge
    stack = stack.stack_register(**METHODS[args.method])
    if args.axis:
        stack = stack.tilt_align(args.axis)
    np.savetxt(args.xf, rows_of_xf(stack), "%12.7f")
    if args.registered:
        stack.save(args.registered, overwrite=True)


def reconstruct(args: argparse.Namespace) -> None:
    """Reconstruct in all ways asked for, and write."""
    with np.load(args.series) as file:
        # slices stay in their order: a mirror, but one that a slice knows nothing of
        views, tilt_deg = np.ascontiguousarray(file["views"].transpose(0, 2, 1)), file["tilt_deg"]
    np.random.seed(0)  # noqa: NPY002 - what DART draws from
    found = {}
    for name, how in args.how.items():
        stack = TomoStack(hs.signals.Signal2D(views), tilt_deg)
        volume = stack.reconstruct(**how, cuda=False, ncores=1, show_progressbar=False)
        found[name] = volume.data[:, ::-1]  # its rows run along -z
    np.savez(args.volumes, **found)


def main() -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(required=True)
    part = parts.add_parser("register")
    part.set_defaults(run=register)
    part.add_argument("method", choices=METHODS)
    part.add_argument("series", type=Path)
    part.add_argument("tilts", type=Path)
    part.add_argument("xf", type=Path)
    part.add_argument("--axis", choices=("CoM", "MaxImage"), help="also find the tilt axis")
    part.add_argument("--registered", type=Path, help="write the views as well")
    part = parts.add_parser("reconstruct")
    part.set_defaults(run=reconstruct)
    part.add_argument("series", type=Path)
    part.add_argument("volumes", type=Path)
    part.add_argument("how", type=json.loads, help="arguments of TomoStack.reconstruct by name, as JSON")
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
