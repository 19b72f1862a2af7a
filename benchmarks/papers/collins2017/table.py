"""Table and picture of what the Makefile here computed, beside the paper.

    python table.py results                    the table
    python table.py --plot fig1.png results    Fig. 1(a)
    python table.py --plan results             planned views beside evenly spaced ones

Collins et al., Phys. Rev. Lett. 119, 166101 (2017). The paper gives no values of Fig. 1(a), only statements.
"""

import argparse
import csv
import json
from pathlib import Path
from statistics import fmean, pstdev

CURVES = {
    "crystal_001": "crystal about [001]",
    "crystal_101": "crystal about [101]",
    "amorphous_001": "amorphous",
}
KINDS = ("crystal", "amorphous")
SPECIMENS = ("c001", "c101", "amorphous", "decahedron")
PAPER_FIG3 = {
    ("crystal", 12): "99.9 %, 11 pm",
    ("crystal", 48): "~60 %, centre lost",
    ("amorphous", 12): "~60 %, 72 pm, false ones",
    ("amorphous", 48): "100 %",
}


def main() -> None:
    """Print the table, or draw the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--plan", action="store_true")
    arguments = parser.parse_args()
    if arguments.plot:
        draw(arguments.folder, arguments.plot)
        return
    if arguments.plan:
        plans(arguments.folder)
        return
    figure_1(arguments.folder)
    figure_2(arguments.folder)
    figure_3(arguments.folder)


def curve(folder: Path, name: str) -> dict[str, list[float]]:
    """Read the table of a curve; without partner NaN."""
    with (folder / f"fig1_{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {key: [float(row[key] or "nan") for row in rows] for key in rows[0]}


def figure_1(folder: Path) -> None:
    """Print the entropies, and whether the statements of the paper hold."""
    print("Fig. 1(a): S / N³ of spheres of 0.2 Å\n")
    print("                       mean    min    max    joint mean")
    found = {name: curve(folder, name) for name in CURVES}
    for name, label in CURVES.items():
        alone, joint = found[name]["S_per_N3"], found[name]["S_joint_per_N3"]
        print(f"{label:<20} {fmean(alone):6.4f} {min(alone):6.4f} {max(alone):6.4f}  {fmean(joint):8.4f}")
    amorphous = found["amorphous_001"]["S_per_N3"]
    crystal, other = found["crystal_001"], found["crystal_101"]["S_per_N3"]
    dips = [crystal["S_per_N3"][crystal["tilt_angle_deg"].index(angle)] for angle in (0, 45, 90)]
    above = [
        a > b
        for a, b in zip(crystal["S_joint_per_N3"], found["amorphous_001"]["S_joint_per_N3"], strict=True)
    ]
    for holds, statement in (
        (
            pstdev(amorphous) < 0.005 * fmean(amorphous),
            "the amorphous model has the same entropy in all views",
        ),
        (min(amorphous) > max(crystal["S_per_N3"] + other), "it has more than the crystal in any view"),
        (max(dips) <= 0.5 * fmean(amorphous), "zone axes at 0°, 45° and 90° have less than half of it"),
        (
            fmean(above) >= 0.8,
            "given a view at 90°, most views of the crystal have more than the amorphous model",
        ),
    ):
        print(f"{'yes' if holds else 'NO ':<4}{statement}")


def figure_2(folder: Path) -> None:
    """Print what is found at each resolution of the microscope."""
    print(
        "\nFig. 2: atoms found in 60 views\n"
        "(paper: all, at about 10 pm, up to 2.0 Å; beyond, the crystal better)\n"
    )
    print("d (Å)    crystal                    amorphous")
    for name, label in (("fig2", ""), ("auto", "  --weight auto")):
        for d in sorted({path.stem.split("_")[2] for path in folder.glob(f"{name}_*.json")}):
            cells = [agreement(folder.glob(f"{name}_{kind}_{d}_*.json")) for kind in KINDS]
            print(f"{d:<8} {cells[0]:<26} {cells[1]}{label}")


def figure_3(folder: Path) -> None:
    """Print what is found in the views along zone axes, and in the others."""
    print("\nFig. 3: atoms found in the 12 views of lowest entropy of the crystal, and in the other 48\n")
    for d, weight in (("2.0", "0.5"), ("1.6", "2.2")):
        columns = (f"d {d} Å, λ {weight} per view", "all atoms", "core", "--fit shared --smooth 0A", "paper")
        print("{:<24} {:<27}{:<27}{:<27}{}".format(*columns))
        for kind in KINDS:
            for n in (12, 48):
                name = f"{kind}_{d}_{weight}_{n}_*.json"
                cells = [agreement(folder.glob(f"{part}_{name}")) for part in ("fig3", "core", "shared")]
                print("{:<24} {:<27}{:<27}{:<27}{}".format(f"{kind}, {n} views", *cells, PAPER_FIG3[kind, n]))


def plans(folder: Path) -> None:
    """Print what is found in views chosen by a plan, and in evenly spaced ones."""
    print("Atoms found in K views, d = 2 Å: chosen by entropy --plan, evenly spaced, half a step on\n")
    print("specimen    range  K   plan                       even                       half a step on")
    for specimen in SPECIMENS:
        for reach in ("full", "wedge"):
            for n in (12, 20):
                cells = [
                    agreement(folder.glob(f"plan_{specimen}_{reach}_{n}_{rule}_*.json"))
                    for rule in ("plan", "even", "half")
                ]
                print(f"{specimen:<11} {reach:<6} {n}  {cells[0]:<26} {cells[1]:<26} {cells[2]}")


def agreement(files: object) -> str:
    """Return the mean of several comparisons in words."""
    runs = [json.loads(path.read_text()) for path in files]  # type: ignore[attr-defined]

    def mean(key: str) -> float:
        return fmean(run[key] for run in runs)

    if not runs:
        return "-"
    if mean("found_percent") == 0:
        return "no atoms found"
    return f"{mean('found_percent'):5.1f} %, {mean('rmsd_pm'):4.1f} pm, {mean('false'):.0f} false"


def draw(folder: Path, target: Path) -> None:
    """Draw Fig. 1(a)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained", dpi=150)
    axes = figure.add_subplot()
    for name, label in CURVES.items():
        found = curve(folder, name)
        (line,) = axes.plot(found["tilt_angle_deg"], found["S_per_N3"], "o-", markersize=3, label=label)
        joint = found["S_joint_per_N3"]
        axes.plot(
            found["tilt_angle_deg"],
            joint,
            "--",
            color=line.get_color(),
            label=f"{label}, given the view at 90°",
        )
    axes.set(xlabel="tilt angle (°)", ylabel="entropy S / N³", ylim=(0, None))
    axes.legend(fontsize=8, ncols=2, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1))
    figure.savefig(target)


if __name__ == "__main__":
    main()
