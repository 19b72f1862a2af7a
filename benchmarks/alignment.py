"""Alignment of tilt series beside ETSpy: how far off, how fast, in how much memory.

    python benchmarks/alignment.py speed                      on a simulated series of 61 x 1024 x 1024 pixels
    python benchmarks/alignment.py --data DIR --etspy-python VENV/bin/python                      all parts
    python benchmarks/alignment.py --data DIR catalyst --methods "etcli pc" "ETSpy StackReg" --seeds 3

catalyst    shifts of a simulated specimen whose displacements are known: root mean square px left along the
            axis, and across it beyond a + b cos θ + c sin θ, which moves axis and specimen
rotated     the same with the axis at 3° and 5 px off the middle, found by tiltalign or ETSpy afterwards
            (by its CoM or, the angle only, its MaxImage)
needle      shifts of a measured series, judged by how well views left out of its reconstruction are predicted
speed       a large series, and the needle
workflow    register, tiltalign and recon of the needle, one after the other

DIR is the folder of data of other people, ETCLI_SHARED/data by default; its `etspy` is used. ETSpy runs in
its own interpreter, given here or as ETSPY_PYTHON. Times and memory are of whole processes from file to file;
the peak is the resident set, pages of mapped files included. Ours run once before on something small, because
the first run on a machine compiles. With several seeds, errors are quadratic means and times medians.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import astuple
from pathlib import Path

import catalyst
import left_out
import mrcfile
import numpy as np
from aligners import ETCLI, Aligner, Series, aligners, our_commands, warm_up, write_series
from catalyst import Misfit
from numpy.typing import NDArray
from processes import ProgramError, Usage, measure

from etcli.core.registration.transforms import Transforms
from etcli.io.transforms import read_xf

AXIS_DEG, OFFSET_PX = 3.0, 5.0
NEEDLE = Path("etspy", "needle_raw.mrc")
JITTER_PX = 0.3
SIMULATED = ("--range", "-60", "60", "2", "--dose", "200", "--drift", "20px", "--seed", "1")
COST = ("s", "CPU s", "peak MiB")

Outcome = tuple[Misfit, Usage]


def main() -> None:
    """Run the parts one after the other."""
    args = arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not args.etspy_python:
            print("ETSpy is left out: give the Python that has it with --etspy-python or ETSPY_PYTHON")
        chosen = programs(args)
        if missing := set(args.methods or ()) - chosen.keys():
            print(f"not here: {', '.join(sorted(missing))}")
        warm_up(folder, chosen, threads=args.threads)
        for part in args.parts or PARTS:
            print(f"\n## {part}\n", flush=True)
            if args.data or part == "speed":
                PARTS[part](args, folder)
            else:
                print("left out: it needs --data DIR")


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    shared = os.environ.get("ETCLI_SHARED")
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    add("--data", type=Path, metavar="DIR", default=Path(shared, "data") if shared else None)
    add("--etspy-python", metavar="PATH", default=os.environ.get("ETSPY_PYTHON"))
    add("--methods", nargs="+", metavar="NAME", help="such as 'etcli pc' 'ETSpy PC'; all by default")
    add("--seeds", type=int, default=1, help="draws of displacements and noise")
    add("--noise", choices=catalyst.NOISES[1:], default="clipped", help="whether noise goes below zero")
    add("--size", type=int, default=1024, help="pixels of the series for speed")
    add("--iterations", type=int, default=60, help="of SIRT without the views left out")
    add("--picture", type=Path, help="draw how well views of the needle are predicted")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no part named {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return args


def programs(args: argparse.Namespace, *, axis: bool = False) -> dict[str, Aligner]:
    """Return the programs asked for, by name."""
    known = aligners(etspy_python=args.etspy_python, threads=args.threads, axis=axis)
    return {
        name: align for name, align in known.items() if not args.methods or name.split(",")[0] in args.methods
    }


def aligned(align: Aligner, series: Series, xf: Path) -> tuple[Transforms, Usage]:
    """Run the programs of an aligner; return the transforms found and what that took."""
    usage = sum((measure(command) for command in align(series, xf)), Usage())
    return read_xf(xf), usage


def shifts_of_catalyst(args: argparse.Namespace, folder: Path) -> None:
    """Print what is left of the displacements of the catalyst."""
    print("along / across, px\n")
    print_errors(align_catalyst(args, folder, programs(args)), numbers=slice(2, None))


def axis_of_catalyst(args: argparse.Namespace, folder: Path) -> None:
    """Print what is left where an axis is to be found as well."""
    print("angle, ° / offset, px / along / across\n")
    axis = {"axis_deg": AXIS_DEG, "offset_px": OFFSET_PX}
    print_errors(align_catalyst(args, folder, programs(args, axis=True), **axis), numbers=slice(None))


def align_catalyst(
    args: argparse.Namespace, folder: Path, chosen: dict[str, Aligner], **axis: float
) -> dict[str, dict[str, list[Outcome]]]:
    """Return by name and condition how the programs did, one outcome a seed unless they failed."""
    outcomes: dict[str, dict[str, list[Outcome]]] = {name: {} for name in chosen}
    for half_turn in (False, True):
        views, tilt = catalyst.read(args.data, half_turn=half_turn)
        for noise in ("none", args.noise):
            condition = f"{'0…178°' if half_turn else '±70°'}, {'clean' if noise == 'none' else 'noisy'}"
            for seed in range(args.seeds):
                moved, truth = catalyst.displace(views, tilt, seed=seed, noise=noise, **axis)
                series = write_series(folder, moved, tilt, pixel_A=20)
                for name, align in chosen.items():
                    results = outcomes[name].setdefault(condition, [])
                    try:
                        found, usage = aligned(align, series, folder / "found.xf")
                    except ProgramError as error:
                        print(f"{name} ({condition}, seed {seed}): {error}\n", flush=True)
                    else:
                        results.append((catalyst.misfit(found, truth, tilt), usage))
    return outcomes


def print_errors(outcomes: dict[str, dict[str, list[Outcome]]], *, numbers: slice) -> None:
    """Print some of the numbers of a misfit in all conditions."""
    rows = []
    for name, by_condition in outcomes.items():
        cells = []
        for results in by_condition.values():
            errors = np.array([astuple(misfit)[numbers] for misfit, _ in results])
            means = np.sqrt(np.mean(errors**2, axis=0)) if results else []
            cells.append(" / ".join(f"{mean:.3f}" for mean in means) or "fails")
        usages = [usage for results in by_condition.values() for _, usage in results]
        rows.append([name, *cells, *cost(usages)])
    conditions = next(iter(outcomes.values()), {})
    print_table(["method", *conditions, *COST], rows)


def needle(args: argparse.Namespace, folder: Path) -> None:
    """Print how well views of the needle that were left out are predicted.

    One more row, for shifts with an error of known size, tells what the numbers mean.
    """
    series, tilt = needle_series(args, folder)
    found, usages = {}, {}
    for name, align in programs(args).items():
        try:
            found[name], usages[name] = aligned(align, series, folder / "found.xf")
        except ProgramError as error:
            print(f"{name}: {error}\n", flush=True)
    if not found:
        return
    name, shifts = next(iter(found.items()))
    errors = np.random.default_rng(0).normal(0, JITTER_PX, (len(tilt), 2))
    found[f"{JITTER_PX:g} px off {name}"] = Transforms.shifts(shifts.shift_px + errors)
    judged = left_out.judge(series, tilt, found, iterations=args.iterations, threads=args.threads)
    rows = []
    for name, each in judged.items():
        usage = [usages[name]] if name in usages else []
        rows.append([name, f"{each.angle_deg:.2f}", f"{each.overall:.4f}", *cost(usage)])
    print_table(["method", "axis, °", "residual", *COST], rows)
    if args.picture:
        left_out.draw(args.picture, judged, tilt)


def needle_series(args: argparse.Namespace, folder: Path) -> tuple[Series, NDArray[np.float64]]:
    """Write the needle for all programs; return its files and angles."""
    path = args.data / NEEDLE
    tilt = np.loadtxt(path.with_suffix(".rawtlt"))
    with mrcfile.open(path, permissive=True) as file:
        return write_series(folder, file.data, tilt, pixel_A=33.6), tilt


def speed(args: argparse.Namespace, folder: Path) -> None:
    """Print times and memory for a large simulated series, and for the needle."""
    simulated, truth = folder / "simulated.mrc", folder / "truth.json"
    simulate = (sys.executable, "-m", "etcli", "simulate", "particle", "--size", str(args.size))
    measure((*simulate, *SIMULATED, "--write-truth", truth, simulated))
    known = json.loads(truth.read_text())
    tilt, moved = np.array(known["tilt_deg"]), np.array(known["shift_px"])
    with mrcfile.mmap(simulated, mode="r") as file:
        series = write_series(folder, file.data, tilt, pixel_A=10)
    simulated.unlink()
    print_speed(args, series, tilt, truth=Transforms.shifts(-moved))
    if args.data:
        print_speed(args, *needle_series(args, folder))


def print_speed(
    args: argparse.Namespace, series: Series, tilt: NDArray[np.float64], *, truth: Transforms | None = None
) -> None:
    """Print what registering a series takes, also relative to the first program and to the file."""
    with mrcfile.mmap(series.path, permissive=True) as file:
        n_bytes = file.data.nbytes
        print(f"{' x '.join(map(str, file.data.shape))} pixels of {file.data.itemsize} bytes\n")
    rows, first = [], None
    for name, align in programs(args).items():
        try:
            found, usage = aligned(align, series, series.folder / "found.xf")
        except ProgramError as error:
            print(f"{name}: {error}\n", flush=True)
            continue
        first = first or usage
        left = catalyst.misfit(found, truth, tilt) if truth else None
        errors = f"{left.along_px:.3f} / {left.across_px:.3f}" if left else ""
        ratios = usage.seconds / first.seconds, usage.peak_bytes / n_bytes
        rows.append([name, errors, *cost([usage]), *(f"{ratio:.2f}" for ratio in ratios)])
    print_table(["method", "along / across, px", *COST, "s / first", "peak / file"], rows)


def workflow(args: argparse.Namespace, folder: Path) -> None:
    """Print what register, tiltalign and recon take for the needle, and all together; the best runs."""
    series, _ = needle_series(args, folder)
    aligned_path = folder / "found.mrc"
    names = "register", "tiltalign", "recon, SIRT 30", "together"
    runs: list[list[Usage]] = []
    for _ in range(args.seeds):
        commands = our_commands(series, folder / "found.xf", method="match", threads=args.threads, axis=True)
        recon = (
            *ETCLI, "recon", "--threads", str(args.threads), "--method", "sirt", "--iterations", "30",
            aligned_path, folder / "volume.mrc",
        )  # fmt: skip
        usages = [measure(command) for command in (*commands, recon)]
        runs.append([*usages, sum(usages, Usage())])
    best = [min(each, key=lambda usage: usage.seconds) for each in zip(*runs, strict=True)]
    print_table(["command", *COST], [[name, *cost([each])] for name, each in zip(names, best, strict=True)])


def cost(usages: list[Usage]) -> list[str]:
    """Return median times and the largest memory of some runs, for the columns of COST."""
    if not usages:
        return [""] * len(COST)
    times = [
        statistics.median(each) for each in zip(*((u.seconds, u.cpu_seconds) for u in usages), strict=True)
    ]
    peak = max(usage.peak_bytes for usage in usages) / (1 << 20)
    return [*(f"{time:.1f}" for time in times), f"{peak:.0f}"]


def print_table(titles: list[str], rows: list[list[str]]) -> None:
    """Print a table in Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    print(*(f"| {' | '.join(line)} |" for line in lines), sep="\n", end="\n\n", flush=True)


PARTS = {
    "catalyst": shifts_of_catalyst,
    "rotated": axis_of_catalyst,
    "needle": needle,
    "speed": speed,
    "workflow": workflow,
}

if __name__ == "__main__":
    main()
