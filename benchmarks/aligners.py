"""The programs that align tilt series, ours and ETSpy's, each run from file to file as its users would."""

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import catalyst
import mrcfile
import numpy as np
from numpy.typing import ArrayLike, NDArray
from processes import ProgramError, measure

from etcli.commands.register import command as register

ETCLI = (sys.executable, "-m", "etcli")
ETSPY = Path(__file__).with_name("etspy_peer.py")
ETSPY_METHODS = ("PC", "PC-20", "median+PC", "COM", "COM-CL", "StackReg", "median+StackReg")
ETSPY_AXES = "CoM", "MaxImage"

Command = Sequence[str | Path]


@dataclass(frozen=True)
class Series:
    """The files of a tilt series: with its axis along y, the same turned for ETSpy, and the angles.

    Results go to the same folder.
    """

    path: Path
    turned: Path
    tilts: Path

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self.path.parent


Aligner = Callable[[Series, Path], list[Command]]
"""Returns the programs that write the transforms of a series to a file."""


def write_series(folder: Path, views: NDArray[Any], tilt_deg: ArrayLike, *, pixel_A: float) -> Series:
    """Write a series for all programs."""
    series = Series(folder / "series.mrc", folder / "turned.mrc", folder / "series.rawtlt")
    for path, stack in ((series.path, views), (series.turned, catalyst.turned(views))):
        with mrcfile.new(path, np.ascontiguousarray(stack), overwrite=True) as file:
            file.voxel_size = pixel_A
    np.savetxt(series.tilts, tilt_deg, "%.2f")
    return series


def aligners(*, etspy_python: str | None, threads: int, axis: bool = False) -> dict[str, Aligner]:
    """Return all programs by name, for shifts alone or for the tilt axis as well."""
    methods = next(option.type.choices for option in register.params if option.name == "method")
    found: dict[str, Aligner] = {
        f"etcli {method}": partial(our_commands, method=method, threads=threads, axis=axis)
        for method in methods
    }
    if etspy_python:
        for method, found_by in product(ETSPY_METHODS, ETSPY_AXES if axis else ("",)):
            name = ", ".join(filter(None, (f"ETSpy {method}", found_by)))
            found[name] = partial(etspy_commands, python=etspy_python, method=method, axis=found_by)
    return found


def our_commands(series: Series, xf: Path, *, method: str, threads: int, axis: bool) -> list[Command]:
    """Return how etcli registers a series and finds its axis."""
    shifts = xf.with_suffix(".shifts") if axis else xf
    command: Command = (
        *ETCLI, "register", "--method", method, "--threads", str(threads), "--tilts", series.tilts,
        "--write-xf", shifts, series.path, series.folder / "registered.mrc",
    )  # fmt: skip
    return [command, axis_command(series, shifts, xf, threads=threads)] if axis else [command]


def axis_command(series: Series, shifts: Path, xf: Path, *, threads: int) -> Command:
    """Return how etcli finds the axis of a series whose shifts are known, and writes it as ``xf``.mrc."""
    return (
        *ETCLI, "tiltalign", "--threads", str(threads), "--tilts", series.tilts, "--prexf", shifts,
        "--write-xf", xf, "--json", series.path, xf.with_suffix(".mrc"),
    )  # fmt: skip


def etspy_commands(series: Series, xf: Path, *, python: str, method: str, axis: str = "") -> list[Command]:
    """Return how ETSpy registers a series and finds its axis."""
    registered = series.folder / "registered.rpl"
    command = (python, ETSPY, "register", method, series.turned, series.tilts, xf, "--registered", registered)
    return [(*command, "--axis", axis) if axis else command]


def warm_up(folder: Path, names: Iterable[str], *, threads: int) -> None:
    """Let etcli compile what it needs, by aligning something small with all of its methods that are named."""
    small = folder / "small.mrc"
    measure((*ETCLI, "simulate", "particle", "--size", "64", "--range", "-70", "70", "2", small))
    series = Series(small, small, folder / "small.rawtlt")
    np.savetxt(series.tilts, np.arange(-70, 71, 2), "%.2f")
    ours = aligners(etspy_python=None, threads=threads)
    for name in ours.keys() & names:
        with suppress(ProgramError):  # what cannot align this will tell of it in the tables, or align them
            for command in ours[name](series, folder / "small.xf"):
                measure(command)
