"""Figure 2 and table 2 of Alania et al., Ultramicroscopy 177, 36 (2017): bounds of depths.

    python bounds.py

Gold along [100], 300 kV, 21 mrad, detector 48 to 180 mrad, source 0.7 Å, 41 images from −200 to 200 Å of
9612 e/Å². The reference of figure 2 is a program independent of etcli.
"""

import argparse

import numpy as np

from etcli.core.depth.focal_library import focal_library
from etcli.core.depth.focal_optics import ColumnKind, FocalOptics
from etcli.core.depth.precision import LARGEST_CONDITION, atom_depth_bounds, column_depth_bounds

COLUMN = ColumnKind("Au", 4.08, 0.63)
OPTICS = FocalOptics()
FOCUS_A = np.arange(-200, 201, 10.0)
DOSE_E_A2 = 9612.0
MOST_ATOMS = 20
REGIONS_A = (2.0, 3.0, 5.0)
REFERENCE_A = {
    2.0: {10: 0.315},
    3.0: {
        **dict(enumerate((0.90, 0.61, 0.48, 0.40, 0.35, 0.32, 0.30, 0.29, 0.29, 0.28), start=1)),
        20: 0.25,
    },
    5.0: {10: 0.26},
}
"""σ_d in Å by half the side of the region and atom count."""
PAPER_TABLE_2 = {10: "30 to 60 Å"}


def main() -> None:
    """Print both tables."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    figure_2()
    table_2()


def figure_2() -> None:
    """Print the bound of the depth of a whole column against its atom count, for three regions."""
    library = focal_library(
        COLUMN,
        OPTICS,
        most_atoms=MOST_ATOMS,
        focus_range_A=float(np.abs(FOCUS_A).max()),
        radius_A=np.sqrt(2) * max(REGIONS_A),
    )
    bounds = {
        half: column_depth_bounds(library, FOCUS_A, dose_e_A2=DOSE_E_A2, half_region_A=half)
        for half in REGIONS_A
    }
    print("Fig. 2: σ_d in Å of a column as a whole; in brackets the reference\n")
    print("atoms" + "".join(f"{f'region ±{half:g} Å':>18}" for half in REGIONS_A))
    for n_atoms in range(1, MOST_ATOMS + 1):
        cells = []
        for half in REGIONS_A:
            reference = REFERENCE_A[half].get(n_atoms)
            cells.append(f"{bounds[half][n_atoms - 1]:.3f}" + (f" ({reference:.3f})" if reference else ""))
        print(f"{n_atoms:5d}" + "".join(f"{cell:>18}" for cell in cells))
    largest = max(
        abs(bounds[half][n - 1] / value - 1) for half in REGIONS_A for n, value in REFERENCE_A[half].items()
    )
    print(f"\nlargest difference from the reference {100 * largest:.0f} %\n")


def table_2() -> None:
    """Print the bounds of single atoms, with the condition number that says what they are worth."""
    print("Table 2: smallest and largest σ in Å of the single atoms of a column, region ±3 Å\n")
    print("atoms  smallest  largest  condition  paper")
    for n_atoms in (1, 3, 5, 10):
        bounds = atom_depth_bounds(COLUMN, OPTICS, n_atoms=n_atoms, focus_A=FOCUS_A, dose_e_A2=DOSE_E_A2)
        warning = "" if bounds.trusted else "   not determined: these numbers follow details of the model"
        row = (
            f"{n_atoms:5d}  {bounds.sigma_A.min():8.3g}  {bounds.sigma_A.max():7.3g}  {bounds.condition:9.1e}"
        )
        print(f"{row}  {PAPER_TABLE_2.get(n_atoms, '-')}{warning}")
    print(f"\nnot determined: condition number of the Fisher matrix above {LARGEST_CONDITION:.0e}")


if __name__ == "__main__":
    main()
