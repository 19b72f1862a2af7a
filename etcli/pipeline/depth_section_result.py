"""Result of depth sectioning: table, model of the atoms, and numbers."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.atomic_model import Atoms
from etcli.core.depth.atom_columns import atoms_of_columns, surface_atoms
from etcli.core.depth.counting import SURE, single_atom_sensitivity
from etcli.core.depth.defocus_sign import SignTest
from etcli.core.depth.focal_images import FocalImages
from etcli.core.depth.focal_optics import ColumnKind
from etcli.core.depth.precision import AtomBounds
from etcli.core.depth.sectioning_result import Libraries, Sectioning
from etcli.core.depth.zone_lattice import ZoneLattice
from etcli.core.errors import DataError, UsageError
from etcli.core.registration.shifts import Shifts
from etcli.core.series import TiltSeries
from etcli.pipeline.depth_section_request import DepthSectionRequest

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DepthBounds:
    """Attainable precision of depths.

    Parameters
    ----------
    column_A : ndarray of shape (n_counts,), float64
        Lower bounds of whole columns of 1, 2, ... atoms in Å.
    n_atoms : int
        Atoms of the column of which the single atoms are bounded: the thickest one.
    atoms : AtomBounds
    """

    column_A: Doubles
    n_atoms: int
    atoms: AtomBounds


@dataclass(frozen=True, eq=False)
class DepthSection:
    """Result of depth sectioning; stages that did not run have left None.

    Parameters
    ----------
    series : TiltSeries
        The focal series.
    request : DepthSectionRequest
        What was asked for.
    images : FocalImages
        Its images with their displacements.
    sectioning : Sectioning or None
        Columns, counts, depths and their lattice.
    shifts : Shifts or None
        Drift as it was found first, without a prediction.
    libraries : Libraries
        Simulated or given.
    kind : ColumnKind or None
        Element and spacing of the columns.
    lattice : ZoneLattice or None
    sign : SignTest or None
        Evidence on the sign of the defocus.
    bounds : DepthBounds or None
        Attainable precision.
    saturated : ndarray of shape (n_columns,), bool
        Columns whose disc holds saturated pixels.
    """

    series: TiltSeries
    request: DepthSectionRequest
    images: FocalImages
    sectioning: Sectioning | None = None
    shifts: Shifts | None = None
    libraries: Libraries = field(default_factory=Libraries)
    kind: ColumnKind | None = None
    lattice: ZoneLattice | None = None
    sign: SignTest | None = None
    bounds: DepthBounds | None = None
    saturated: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    @property
    def found(self) -> Sectioning:
        """Columns and what is known of them; raises UsageError when none were asked for."""
        if self.sectioning is None:
            raise UsageError("columns were not asked for")
        return self.sectioning

    @property
    def position_A(self) -> Doubles:
        """X and y of the columns in Å from the centre of the image: ndarray of shape (n_columns, 2)."""
        images = self.found.images
        return np.asarray((self.found.columns_px - images.centre_px) * images.pixel_A)

    @property
    def depth_A(self) -> Doubles | None:
        """Depths of the columns in the model: on the lattice where it is known and wanted."""
        found = self.found
        if found.depths is None:
            return None
        measured = found.depths.fit.depth_A
        if found.on_lattice is None or self.request.relax == "none":
            return measured
        on_lattice = found.on_lattice.depth_A
        return np.where(np.isfinite(on_lattice), on_lattice, measured)

    @property
    def flags(self) -> list[str]:
        """Names of what makes each column doubtful, separated by blanks."""
        found, masks = self.found, {"edge": self.found.edge, "saturated": self.saturated}
        no_fit = found.fit.bad
        if found.depths is not None:
            fit = found.depths.fit
            masks |= {"peak_outside": fit.peak_outside, "low_contrast": fit.low_contrast}
            no_fit = no_fit | fit.no_fit
        masks["no_fit"] = no_fit
        if found.counts is not None:
            masks["ambiguous_count"] = found.counts.ambiguous
        if found.count is not None:
            masks["no_atoms"] = found.count == 0
        if found.match is not None and found.on_lattice is not None:
            masks["off_lattice"] = ~found.match.matched
            masks["ambiguous_height"] = found.match.matched & (found.on_lattice.probability < SURE)
        return [
            " ".join(name for name, mask in masks.items() if mask[column]) for column in range(len(found.fit))
        ]

    @property
    def table(self) -> dict[str, Any]:
        """Columns of the table, a row for each atomic column."""
        found, nothing = self.found, np.full(len(self.found.fit), np.nan)
        fit = None if found.depths is None else found.depths.fit
        bound = nothing
        if self.bounds is not None and found.count is not None:
            bound = np.append(np.nan, self.bounds.column_A)[np.clip(found.count, 0, None)]
        x_A, y_A = self.position_A.T
        return {
            "x_A": x_A,
            "y_A": y_A,
            "rho_A": found.fit.width_px * found.images.pixel_A,
            "scs": found.cross_section_A2,
            "scs_err": found.cross_section_error_A2,
            "count": nothing if found.count is None else found.count,
            "count_prob": nothing if found.counts is None else found.counts.probability,
            "z_peak_A": nothing if fit is None else fit.peak_A,
            "z_A": nothing if fit is None else fit.depth_A,
            "sigma_z_A": nothing if fit is None else fit.sigma_A,
            "crlb_A": bound,
            "chi2": nothing if fit is None or self.found.images.electrons is None else fit.chi2,
            "z_snapped_A": nothing if found.on_lattice is None else found.on_lattice.depth_A,
            "snap_prob": nothing if found.on_lattice is None else found.on_lattice.probability,
            "flag": self.flags,
        }

    @property
    def atoms(self) -> Atoms:
        """Model of the atoms, in Å from the centre of the image; z is positive away from the source.

        The columns are the number of the atomic column, its sigma_z_A, and surface, which is 1 for atoms with
        fewer neighbours than inside the crystal.

        Raises
        ------
        DataError
            When no column has atoms and a depth.
        UsageError
            When counts or depths were not asked for, or element and spacing are not known.
        """
        depth, count = self.depth_A, self.found.count
        if depth is None or count is None or self.found.depths is None or self.kind is None:
            raise UsageError("a model needs counts, depths, and the element and spacing of the columns")
        fit = self.found.depths.fit
        there = (count > 0) & np.isfinite(depth) & ~fit.no_fit & ~fit.peak_outside
        if not there.any():
            raise DataError("no column has atoms and a depth; there is no model to build")
        atoms = atoms_of_columns(
            self.position_A[there],
            count[there],
            depth[there],
            self.kind.spacing_A,
            self.kind.element,
            sigma_z_A=self.found.depths.fit.sigma_A[there],
        )
        atoms = atoms.with_columns(column=np.repeat(np.flatnonzero(there), count[there]).astype(float))
        if self.lattice is None:
            return atoms
        surface = surface_atoms(
            atoms.position_A, neighbour_A=self.lattice.neighbour_A, n_neighbours=self.lattice.n_neighbours
        )
        return atoms.with_columns(surface=surface.astype(float))

    @property
    def numbers(self) -> dict[str, Any]:
        """The numbers of the run, for ``--json``."""
        images = self.images
        drift = images.displacement_px * images.pixel_A
        numbers: dict[str, Any] = {
            "sections": len(images),
            "pixel_A": images.pixel_A,
            "dose_e_A2": images.dose_e_A2,
            "drift_rms_A": float(np.sqrt(((drift - drift.mean(axis=0)) ** 2).sum(axis=1).mean())),
        }
        if self.sectioning is None:
            return numbers
        found = self.sectioning
        numbers |= {
            "averaged_sections": (np.sort(found.chosen) + 1).tolist(),
            "columns": len(found.fit),
            "rho_A": float(np.median(found.fit.width_px) * found.images.pixel_A),
            "background": found.fit.background,
            "sum_of_squares": found.fit.sum_of_squares,
            "flagged": sum(bool(flag) for flag in self.flags),
        }
        numbers |= self._count_numbers() | self._depth_numbers()
        if self.bounds is not None:
            numbers["crlb"] = {
                "column_A": self.bounds.column_A.tolist(),
                "n_atoms": self.bounds.n_atoms,
                "single_atoms_A": self.bounds.atoms.sigma_A.tolist(),
                "condition": self.bounds.atoms.condition,
                "single_atoms_trusted": self.bounds.atoms.trusted,
            }
        return numbers

    def _count_numbers(self) -> dict[str, Any]:
        counts = self.found.counts
        if counts is None:
            return {} if self.found.count is None else {"atoms": int(self.found.count.sum())}
        numbers: dict[str, Any] = {
            "atoms": counts.total,
            "count_method": self.request.count_method,
            "scs_scale": counts.scale,
            "scale_ambiguous": counts.scale_ambiguous,
            "expected_wrong_counts": counts.expected_errors,
            "ambiguous_counts": int(counts.ambiguous.sum()),
        }
        if counts.sigma > 0 and len(counts.means) > 1:
            numbers["single_atom_sensitivity"] = single_atom_sensitivity(
                counts.means, counts.sigma, weights=counts.weights
            )[1]
        if self.found.mixtures:
            fits = self.found.mixtures
            numbers |= {name: [getattr(fit, name) for fit in fits] for name in ("icl", "bic", "aic")}
            numbers["components"] = len(counts.means)
        return numbers

    def _depth_numbers(self) -> dict[str, Any]:
        found = self.found
        if found.depths is None:
            return {}
        fit = found.depths.fit
        known = np.isfinite(fit.sigma_A)
        numbers: dict[str, Any] = {
            "depth_method": self.request.depth_method,
            "median_sigma_z_A": float(np.median(fit.sigma_A[known])) if known.any() else None,
            "peaks_outside": int(fit.peak_outside.sum()),
        }
        if found.images.electrons is not None:
            numbers["median_chi2"] = float(np.nanmedian(fit.chi2))
        if self.sign is not None:
            numbers["defocus_sign"] = {
                "advantage_chi2": self.sign.advantage,
                "expected_chi2": self.sign.expected,
                "testable": self.sign.has_power,
                "wrong": self.sign.wrong,
            }
        if found.match is not None and found.on_lattice is not None and self.lattice is not None:
            numbers["lattice"] = {
                "matched": int(found.match.matched.sum()),
                "scale": found.match.scale,
                "angle_deg": found.match.angle_deg,
                "residual_xy_A": found.match.residual_A,
                "residual_z_A": found.on_lattice.residual_A,
                "random_residual_z_A": self.lattice.spacing_A / 4,
                "level_A": found.on_lattice.level_A,
                "level_columns": found.on_lattice.n_used,
                "expected_wrong_heights": float(
                    (1 - found.on_lattice.probability)[found.match.matched].sum()
                ),
            }
        return numbers
