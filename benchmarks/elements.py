"""Elements reconstructed by `etcli fuse`, beside each of them alone, on specimens whose truth is known.

    python benchmarks/elements.py [--data DIR] [--seeds 1,2,3] [--quick] [TABLE...]

Everything is done by commands. The tables:

main        Ni, Co, Pt and a little Cr at two doses and two ranges of tilts: best SIRT (iterations chosen with
            the truth), `recon --method fista`, `fuse` without and with the HAADF series
faults      the HAADF series with an offset, saturated by 30 %, clipped, and shifted by a pixel; no map of Pt
misaligned  views displaced, and turned about another axis: `register`, `tiltalign`, `xform --parts`, `fuse`.
            Views do not tell where the specimen lies, so the transforms bring it to where the truth is: no
            volume is interpolated for the comparison
specimens   simulated: six elements, the same without the map of one, particles with a shadow and an uneven
            beam, a film that goes on beyond the views

NRMSE is ‖x - truth‖ / ‖truth‖ of each element, with the known sensitivities; interface is half the sum of
the errors of all fractions, in voxels at boundaries between elements; contrast and Dice are of the minor
element. DIR is the folder of data of other people, ETCLI_SHARED/data by default; its `spectral` is used for
all tables but the last. --quick takes one seed, one dose and no SIRT.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
from numpy.typing import NDArray
from processes import measure
from scipy.ndimage import binary_erosion, maximum_filter, minimum_filter

from etcli.core.volume_shift import find_shift

Array = NDArray[np.float32]

ETCLI = (sys.executable, "-m", "etcli")
SIRT_ITERATIONS = (5, 12, 27, 60)
MINOR, HOST = "Cr", "Co"
NARROW_DEG, NARROW_HAADF_DEG = 45.0, 60.0
BOUNDS = {
    (1, False, False): ((0.30, 0.29, 0.39, 0.50), None),
    (4, False, False): ((0.20, 0.21, 0.28, 0.38), None),
    (1, False, True): ((0.18, 0.16, 0.09, 0.58), 0.085),
    (4, False, True): ((0.12, 0.10, 0.09, 0.38), 0.055),
    (1, True, True): ((0.29, 0.27, 0.17, 0.55), 0.165),
    (4, True, True): ((0.23, 0.21, 0.14, 0.48), 0.125),
}
"""Largest NRMSE of each element and error at interfaces, by dose, narrow range, and with HAADF."""


@dataclass(frozen=True)
class Truth:
    """True densities of the elements, in the order of the names."""

    names: tuple[str, ...]
    densities: Array

    def scores(self, found: Array) -> dict[str, Any]:
        """Compare densities (element, z, y, x) with the truth."""
        true = self.densities
        axes = (1, 2, 3)
        errors = np.linalg.norm((found - true).reshape(len(true), -1), axis=1)
        scores = {"nrmse": errors / np.linalg.norm(true.reshape(len(true), -1), axis=1)}
        nominal = np.array([np.quantile(t[t > t.max() / 2], 0.9) for t in true])[:, None, None, None]
        sizes = (found > nominal / 2).sum(axes), (true > nominal / 2).sum(axes)
        scores["volume"] = sizes[0] / sizes[1] - 1
        if MINOR in self.names:
            c, host = self.names.index(MINOR), self.names.index(HOST)
            inside = true[c] > 0.9 * true[c].max()
            outside = (true[host] > 0.9 * true[host].max()) & (true[c] == 0)
            outside &= binary_erosion(true[host] > 0.5)
            scores["contrast"] = (found[c][inside].mean() - found[c][outside].mean()) / nominal[c]
            both = found[c] > nominal[c] / 2, true[c] > nominal[c] / 2
            scores["dice"] = 2 * (both[0] & both[1]).sum() / (both[0].sum() + both[1].sum())
        scores["interface"] = self._at_interfaces(found)
        return scores

    def _at_interfaces(self, found: Array) -> float:
        """Return the mean error of the fractions in voxels at buried boundaries between elements."""
        total = self.densities.sum(axis=0)
        solid = total > 0.6
        true = np.where(solid, self.densities / np.maximum(total, 1e-6), 0)
        major = [f for name, f in zip(self.names, true, strict=True) if name != MINOR]
        jump = np.max([maximum_filter(f, 3) - minimum_filter(f, 3) for f in major], axis=0)
        band = binary_erosion(solid) & (jump > 0.3) & (minimum_filter(total, 3) > 0.5)
        fractions = found / np.maximum(found.sum(axis=0), 1e-3)
        return float(np.abs(fractions - true).sum(axis=0)[band].mean() / 2) if band.any() else float("nan")


def etcli(*words: object) -> tuple[str, float]:
    """Run a command; return what it printed, and the CPU time."""
    usage = measure([*ETCLI, *map(str, words)])
    return usage.output, usage.cpu_seconds


def volumes(target: Path, names: Sequence[str], sensitivity: Mapping[str, float]) -> Array:
    """Read the volumes of a fusion as densities."""
    files = [target.with_name(f"{target.stem}_{name}.mrc") for name in names]
    return np.stack([mrcfile.read(f) / np.float32(sensitivity[e]) for e, f in zip(names, files, strict=True)])


def fused(
    maps: Sequence[Path], target: Path, *options: object, haadf: Path | None = None
) -> tuple[dict[str, Any], float]:
    """Run `fuse`; return its numbers and the CPU time."""
    given = ("--haadf", haadf) if haadf else ()
    output, seconds = etcli("fuse", "-q", "--json", *given, *options, *maps, target)
    return json.loads(output), seconds


class Shared:
    """Series of the specimen `main`, and its truth."""

    def __init__(self, folder: Path, work: Path) -> None:
        self.folder, self.work = folder, work
        self.known = json.loads((folder / "parameters.json").read_text())
        self.names = tuple(self.known["elements"])
        self.truth = Truth(
            self.names, np.stack([mrcfile.read(folder / f"truth_{e}.mrc") for e in self.names])
        )
        self.thickness = ("--thickness", f"{self.truth.densities.shape[1]}px")

    def sensitivity(self, dose: int) -> dict[str, float]:
        """Return the counts of a voxel of density 1."""
        return {name: dose * value for name, value in self.known["sensitivity"].items()}

    def series(self, name: str, *, limit_deg: float = 90.0) -> Path:
        """Return a series, or a copy with the views within a range of tilts."""
        source = self.folder / f"{name}.mrc"
        if limit_deg >= 90:
            return source
        tilt_deg = np.loadtxt(source.with_suffix(".rawtlt"))
        kept = ",".join(str(k + 1) for k in np.flatnonzero(np.abs(tilt_deg) <= limit_deg))
        target = self.work / f"narrow_{name}.mrc"
        etcli("stack", "-q", "--views", kept, source, target)
        return target

    def maps(self, dose: int, seed: int, *, narrow: bool = False) -> list[Path]:
        """Return the maps of all elements."""
        limit = NARROW_DEG if narrow else 90.0
        return [self.series(f"edx_d{dose}_s{seed}_{name}", limit_deg=limit) for name in self.names]

    def haadf(self, *, narrow: bool = False) -> Path:
        """Return the HAADF series."""
        return self.series("haadf", limit_deg=NARROW_HAADF_DEG if narrow else 90.0)

    def spoilt(self, how: str) -> Path:
        """Return the HAADF series with a fault."""
        source = self.folder / "haadf.mrc"
        views = mrcfile.read(source).astype(np.float32)
        bright = float(np.quantile(views, 0.999))
        if how == "offset 5 %":
            views += 0.05 * bright
        elif how == "saturated by 30 %":
            views *= 1 - 0.3 * np.clip(views / bright, 0, 1)
        elif how == "clipped at 60 %":
            views = np.minimum(views, np.float32(0.6 * bright))
        elif how == "shifted by 1 px":
            views = np.roll(views, 1, axis=2)
        target = self.work / "spoilt.mrc"
        with mrcfile.new(target, views, overwrite=True) as mrc:
            mrc.set_image_stack()
            mrc.voxel_size = 10.0
        target.with_suffix(".rawtlt").write_text(source.with_suffix(".rawtlt").read_text())
        return target

    def alone(self, maps: Sequence[Path], dose: int, *options: object) -> Array:
        """Reconstruct each element by `recon`, as densities."""
        found = []
        for name, series in zip(self.names, maps, strict=True):
            target = self.work / "alone.mrc"
            etcli(
                "recon",
                "-q",
                "--background",
                "none",
                "--nonnegative",
                *self.thickness,
                *options,
                series,
                target,
            )
            found.append(mrcfile.read(target) / np.float32(self.sensitivity(dose)[name]))
        return np.stack(found)

    def best_sirt(self, maps: Sequence[Path], dose: int) -> Array:
        """Reconstruct by SIRT with the number of iterations that is best for each element."""
        found = [self.alone(maps, dose, "--method", "sirt", "--iterations", n) for n in SIRT_ITERATIONS]
        errors = np.array([self.truth.scores(each)["nrmse"] for each in found])
        return np.stack([found[k][c] for c, k in enumerate(errors.argmin(axis=0))])


def row(
    title: str, scores: Sequence[Mapping[str, Any]], seconds: float | None = None, note: str = ""
) -> None:
    """Print the means of some runs as a row of a Markdown table."""
    mean = {key: np.mean([each[key] for each in scores], axis=0) for key in scores[0]}
    cells = [title, " / ".join(f"{value:.3f}" for value in mean["nrmse"]), f"{mean['interface']:.3f}"]
    cells.append(" / ".join(f"{100 * value:+.0f}" for value in mean["volume"]))
    cells.append(f"{float(mean['contrast'][0, 0, 0]):.2f}, {mean['dice']:.2f}" if "dice" in mean else "")
    cells += ["" if seconds is None else f"{seconds:.0f}", note]
    print(f"| {' | '.join(cells)} |", flush=True)


def head(title: str) -> None:
    """Print the head of a table."""
    print(f"\n{title}\n\n| | NRMSE | interface | volume error, % | minor: contrast, Dice | CPU s | |")
    print("|---|---|---|---|---|---|---|", flush=True)


def verdict(scores: Sequence[Mapping[str, Any]], dose: int, narrow: bool, with_haadf: bool) -> str:
    """Say whether the means are within the bounds."""
    errors, interface = BOUNDS.get((dose, narrow, with_haadf), (None, None))
    if errors is None:
        return ""
    mean = np.mean([each["nrmse"] for each in scores], axis=0)
    over = [f"{value:.3f} > {bound}" for value, bound in zip(mean, errors, strict=True) if value > bound]
    if interface and np.mean([each["interface"] for each in scores]) > interface:
        over.append(f"interface > {interface}")
    return "; ".join(over) or "within bounds"


def main_table(data: Shared, seeds: Sequence[int], *, quick: bool) -> None:
    """Compare methods at two doses and two ranges."""
    for narrow in (False, True)[: 1 if quick else 2]:
        for dose in (1, 4)[: 1 if quick else 2]:
            head(f"Dose {dose}, ±{NARROW_DEG if narrow else 67.5}°, seeds {', '.join(map(str, seeds))}")
            maps = {seed: data.maps(dose, seed, narrow=narrow) for seed in seeds}
            if not quick:
                row("SIRT, best by truth", [data.truth.scores(data.best_sirt(maps[s], dose)) for s in seeds])
            fista = [data.truth.scores(data.alone(maps[s], dose, "--method", "fista")) for s in seeds]
            row("fista", fista)
            for haadf in (None, data.haadf(narrow=narrow)):
                scores, spent = [], []
                for seed in seeds:
                    target = data.work / "v.mrc"
                    _, seconds = fused(maps[seed], target, *data.thickness, haadf=haadf)
                    found = volumes(target, data.names, data.sensitivity(dose))
                    scores.append(data.truth.scores(found))
                    spent.append(seconds)
                title = "fuse with HAADF" if haadf else "fuse"
                said = verdict(scores, dose, narrow, haadf is not None)
                row(title, scores, float(np.mean(spent)), said)


def fault_table(data: Shared, seeds: Sequence[int]) -> None:
    """Spoil the HAADF series."""
    head(f"Faults of HAADF, dose 1, seed {seeds[0]}")
    maps = data.maps(1, seeds[0])
    for fault in ("none", "offset 5 %", "saturated by 30 %", "clipped at 60 %", "shifted by 1 px"):
        target = data.work / "v.mrc"
        numbers, seconds = fused(maps, target, *data.thickness, haadf=data.spoilt(fault))
        found = volumes(target, data.names, data.sensitivity(1))
        row(fault, [data.truth.scores(found)], seconds, used(numbers))
    without = tuple(name for name in data.names if name != "Pt")
    kept = [series for series, name in zip(maps, data.names, strict=True) if name in without]
    truth = Truth(without, data.truth.densities[[data.names.index(name) for name in without]])
    for title, haadf in (("no map of Pt", data.haadf()), ("the same without HAADF", None)):
        numbers, seconds = fused(kept, target, *data.thickness, haadf=haadf)
        found = volumes(target, without, data.sensitivity(1))
        row(f"{title} (Ni, Co, Cr)", [truth.scores(found)], seconds, used(numbers) if haadf else "")


def used(numbers: Mapping[str, Any]) -> str:
    """Say what HAADF was used as, and by how much held-out counts are predicted better."""
    nats = ", ".join(f"{key} {value:+.0f} nats" for key, value in numbers["better_nats"].items())
    return f"{numbers['haadf']['use']}{' with rest' * numbers['rest']}: {nats}"


def misaligned_table(data: Shared) -> None:
    """Align HAADF, apply its transforms to the maps, and fuse."""
    head("Misaligned, dose 4")
    work, target = data.work, data.work / "v.mrc"
    source = data.folder / "mis_haadf.mrc"
    etcli("register", "-q", "--write-xf", work / "r.xf", source, work / "r.mrc")
    etcli(
        "tiltalign", "-q", "--prexf", work / "r.xf", "--write-xf", work / "a.xf", source, work / "haadf.mrc"
    )
    raw = [data.folder / f"mis_edx_d4_{name}.mrc" for name in data.names]
    placed = place_at_truth(data, work / "a.xf", work / "haadf.mrc")
    given = ("--xf", placed, "--xf-tilts", source.with_suffix(".rawtlt"))
    etcli("xform", "-q", *given, source, work / "haadf.mrc")
    etcli("xform", "-q", "--linear", "--parts", *given, *raw, work / "aligned.mrc")
    maps = [work / f"aligned_{name}.mrc" for name in data.names]
    reference = [data.folder / f"edx_d4_s1_{name}.mrc" for name in data.names]
    for title, series, haadf in (
        ("aligned", reference, data.haadf()),
        ("misaligned", maps, work / "haadf.mrc"),
    ):
        _, seconds = fused(series, target, "--thickness", "60px", haadf=haadf)
        found = central(volumes(target, data.names, data.sensitivity(4)), data.truth.densities.shape)
        row(title, [data.truth.scores(found)], seconds)


def place_at_truth(data: Shared, transforms: Path, aligned: Path) -> Path:
    """Change transforms by what moves the specimen, of an aligned HAADF series, to where the truth lies."""
    etcli(
        "recon", "-q", "--method", "sirt", "--iterations", 30, "--nonnegative", "--thickness", "60px",
        aligned, data.work / "placed.mrc",
    )  # fmt: skip
    found = mrcfile.read(data.work / "placed.mrc")
    signal = [data.known["haadf_weight"][name] for name in data.names]
    true = np.tensordot(np.float32(signal), data.truth.densities, 1)
    beyond = [have - need for have, need in zip(found.shape, true.shape, strict=True)]
    dz, dy, dx = find_shift(found, np.pad(true, [(n // 2, n - n // 2) for n in beyond]))
    tilt_rad = np.deg2rad(np.loadtxt(data.folder / "mis_haadf.rawtlt"))
    rows = np.loadtxt(transforms)
    rows[:, 4] += dx * np.cos(tilt_rad) + dz * np.sin(tilt_rad)
    rows[:, 5] += dy
    target = data.work / "placed.xf"
    np.savetxt(target, rows, fmt="%12.7f")
    return target


def central(found: Array, shape: Sequence[int]) -> Array:
    """Return the middle of volumes that are wider and higher."""
    low = [(have - need) // 2 for have, need in zip(found.shape, shape, strict=True)]
    return found[tuple(slice(start, start + n) for start, n in zip(low, shape, strict=True))]


SPECIMENS: dict[str, tuple[tuple[object, ...], tuple[str, ...], tuple[object, ...]]] = {
    "six elements": (("alloys",), (), ()),
    "six elements, no map of Co": (("alloys",), ("Co",), ()),
    "particles, shadow and beam": (("particles", "--shadow", 0.6, "--gain-spread", 0.15), (), ()),
    "film": (("film",), (), ("--width", "442px")),  # what `fuse` asks for
}
"""Arguments of `simulate spectral`, elements without a map, and options of `fuse`."""


def specimen_rows(work: Path, title: str) -> Iterator[str]:
    """Yield the rows of one simulated specimen: an element each."""
    arguments, without, options = SPECIMENS[title]
    haadf, truth = work / "s.mrc", work / "true.mrc"
    for old in work.glob("s_*"):
        old.unlink()
    for old in work.glob("true_*"):
        old.unlink()
    etcli(
        "simulate",
        "spectral",
        "-q",
        "--seed",
        1,
        "--write-truth",
        work / "s.json",
        "--write-truth",
        truth,
        *arguments,
        haadf,
    )
    names = [path.stem.partition("_")[2] for path in sorted(work.glob("true_*.mrc"))]
    names = [name for name in names if name not in without]
    maps = [work / f"s_{name}.mrc" for name in names]
    true = {name: mrcfile.read(work / f"true_{name}.mrc") for name in names}
    thick = ("--thickness", f"{len(true[names[0]])}px", *options)
    numbers, _ = fused(maps, work / "tied.mrc", *thick, haadf=haadf)
    fused(maps, work / "free.mrc", *thick)
    counts = {name: each["counts"] for name, each in numbers["elements"].items()}
    told = "kept" if numbers["haadf"]["kept"] else "dropped"
    spread = f"gains {min(numbers['gains']):.2f} to {max(numbers['gains']):.2f}"
    for name, series in zip(names, maps, strict=True):
        fused([series], work / "one.mrc", "--prior", "tv", *thick)
        lines = Path(f"{series}.mdoc").read_text().splitlines()
        unit = float(next(line.split("=")[1] for line in lines if line.startswith("Sensitivity")))
        errors = []
        for which in ("one", "free", "tied"):
            found = central(mrcfile.read(work / f"{which}_{name}.mrc") / unit, true[name].shape)
            errors.append(float(np.linalg.norm(found - true[name]) / np.linalg.norm(true[name])))
        share = counts[name] / sum(counts.values())
        cells = " | ".join(f"{error:.3f}" for error in errors)
        yield f"| {title}: {name} | {share:.1%} | {cells} | {told}, {spread} |"


def specimen_table(work: Path) -> None:
    """Compare elements that are fused with each alone, on simulated specimens."""
    print(
        "\n| | of the counts | alone (tv) | fused | fused with HAADF | |\n|---|---|---|---|---|---|",
        flush=True,
    )
    for title in SPECIMENS:
        for line in specimen_rows(work, title):
            print(line, flush=True)


TABLES = ("main", "faults", "misaligned", "specimens")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", choices=[[], *TABLES], default=[])
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("ETCLI_SHARED", "../shared")) / "data"
    )
    parser.add_argument("--seeds", default="1,2,3", type=lambda text: [int(word) for word in text.split(",")])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    seeds = options.seeds[:1] if options.quick else options.seeds
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        spectral = options.data / "spectral"
        chosen = options.tables or TABLES
        if spectral.is_dir():
            data = Shared(spectral, work)
            if "main" in chosen:
                main_table(data, seeds, quick=options.quick)
            if "faults" in chosen:
                fault_table(data, seeds)
            if "misaligned" in chosen:
                misaligned_table(data)
        if "specimens" in chosen:
            specimen_table(work)


if __name__ == "__main__":
    main()
