"""Result of the measures of pores and networks, as numbers with units."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.measurement.connectivity import Connectivity
from etcli.core.measurement.measures import Measures
from etcli.core.measurement.uncertainty import total_volume

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

BINS = 40
"""Bins of the histograms of thickness."""


@dataclass(frozen=True, eq=False)
class PoreResult:
    """Pores, one row for each, and what they are part of; volumes in voxels.

    Parameters
    ----------
    measures : Measures
        Of the pores, as bodies that are brighter than the solid.
    is_inverted : bool
        Whether the volume was inverted for that, as the solid is bright.
    is_open : ndarray of shape (n,), bool
        Open within the envelope, or closed.
    closes, opens : ndarray of shape (n,), bool
        Whether the pore is of the other kind when the threshold is lower, or higher, by 5 % of the contrast.
    n_small : int
        Pieces with too few voxels.
    solid_px, open_px, envelope_px, region_px : float
        Volumes of the solid, of all that is open in the envelope, of the envelope and of the region; NaN
        without.
    """

    measures: Measures
    is_inverted: bool
    is_open: Mask
    closes: Mask
    opens: Mask
    n_small: int
    solid_px: float
    open_px: float
    envelope_px: float
    region_px: float

    def totals(self, unit: str, step: float, *, sigma_known: bool, has_prior: bool) -> dict[str, Any]:
        """Return numbers, volumes and porosities; errors of what is open only of volumes with a prior."""
        found, closed = self.measures, ~self.is_open
        parts = found.volume[closed], found.sigma_half[closed], float(found.known_surface[closed].sum())
        volume = total_volume(*parts, found.shift_px, float(found.doubt[closed].sum()))
        sigma = volume.sigma if sigma_known else np.nan
        has_envelope = np.isfinite(self.envelope_px)
        whole = self.envelope_px if has_envelope else self.solid_px + volume.value
        total = (volume.value + self.open_px) / whole
        if not has_envelope and np.isfinite(self.region_px):
            total = 1 - self.solid_px / self.region_px
        return {
            "closed": int(closed.sum()),
            "open": int(self.is_open.sum()) if has_envelope else None,
            "small_left_out": self.n_small,
            "close_at_lower_threshold": int(self.closes.sum()),
            "open_at_higher_threshold": int(self.opens.sum()),
            f"closed_volume_{unit}3": volume.value * step**3,
            f"sigma_closed_volume_{unit}3": sigma * step**3,
            f"open_volume_{unit}3": self.open_px * step**3,
            f"envelope_volume_{unit}3": self.envelope_px * step**3,
            "closed_porosity": volume.value / whole,
            "sigma_closed_porosity": sigma / whole,
            "open_porosity": self.open_px / whole,
            "sigma_open_porosity": (self._sigma_open_px if sigma_known and has_prior else np.nan) / whole,
            "porosity": total,
        }

    @property
    def _sigma_open_px(self) -> float:
        """Standard deviation of what is open: of surfaces of pores, and all that is too small for one."""
        found, opened = self.measures, self.is_open
        parts = found.volume[opened], found.sigma_half[opened], float(found.known_surface[opened].sum())
        pores = total_volume(*parts, found.shift_px, float(found.doubt[opened].sum()))
        return float(np.hypot(pores.sigma, max(self.open_px - pores.value, 0.0)))

    def columns(self, measured: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the table of pores from that of labels, in the grey levels of the volume."""
        columns = {
            "label": measured["label"],
            "kind": np.where(self.is_open, "open", "closed"),
            "kind_changes": (self.closes | self.opens).astype(int),
        }
        for name, values in measured.items():
            if name not in ("label", "density_lsq", "contacts"):
                turned = self.is_inverted and name in ("density_core", "threshold")
                columns[name] = -values if turned else values
        return columns


@dataclass(frozen=True, eq=False)
class Network:
    """The labels as a network: how they hang together, and chords (z, y, x) in voxels."""

    connectivity: Connectivity
    chord: Doubles
    pore_chord: Doubles

    def totals(self, unit: str, step: float) -> dict[str, Any]:
        """Return numbers by name."""
        parts = self.connectivity
        return {
            "pieces": parts.pieces,
            "largest_share": parts.largest_share,
            "cavities": parts.cavities,
            "loops": parts.loops,
            "euler_number": parts.euler_number,
            "small_left_out": parts.n_small,
            f"chord_zyx_{unit}": self.chord * step,
            f"pore_chord_zyx_{unit}": self.pore_chord * step,
            "chord_z_by_x": _ratio(self.chord),
            "pore_chord_z_by_x": _ratio(self.pore_chord),
        }


@dataclass(frozen=True, eq=False)
class Thickness:
    """Local thickness of solid and pores, in voxels.

    Parameters
    ----------
    values : ndarray of shape (nz, ny, nx), float32
        Of the solid in the solid, of the pores in the pores, 0 elsewhere.
    is_solid, is_pore : ndarray of shape (nz, ny, nx), bool
    pores_are : str
        Which pores these are: "closed", "closed and open", or "all space" of a region between the labels.
    """

    values: Array
    is_solid: Mask
    is_pore: Mask
    pores_are: str

    def parts(self) -> dict[str, Array]:
        """Values in the solid and in the pores."""
        return {"solid": self.values[self.is_solid], "pores": self.values[self.is_pore]}

    def totals(self, unit: str, step: float) -> dict[str, Any]:
        """Return mean, standard deviation and histogram of both."""
        found = {name: _distribution(values * step, unit) for name, values in self.parts().items()}
        found["pores"]["kind"] = self.pores_are
        return found


@dataclass(frozen=True, eq=False)
class PoreMeasures:
    """Measures of pores and networks; None where they were not asked for, or mean nothing."""

    pores: PoreResult | None
    network: Network | None
    thickness: Thickness | None
    axis: str | None
    tortuosity: dict[str, float | None]

    def totals(self, unit: str, step: float, *, sigma_known: bool, has_prior: bool) -> dict[str, Any]:
        """Return all numbers by name, for JSON."""
        values: dict[str, Any] = {}
        if self.pores:
            values["pores"] = self.pores.totals(unit, step, sigma_known=sigma_known, has_prior=has_prior)
        if self.network:
            values["network"] = self.network.totals(unit, step)
        if self.thickness:
            values["thickness"] = self.thickness.totals(unit, step)
        if self.axis:
            values["tortuosity"] = {"axis": self.axis, **self.tortuosity}
        return values


def _ratio(chord: Doubles) -> float:
    z, _, x = chord
    return float(z / x) if np.isfinite(z) and np.isfinite(x) else np.nan


def _distribution(values: Array, unit: str) -> dict[str, Any]:
    known = values[np.isfinite(values)].astype(np.float64)
    counts, edges = np.histogram(known, BINS, (0, known.max(initial=0) or 1))
    return {
        f"mean_{unit}": float(known.mean()) if known.size else np.nan,
        f"sd_{unit}": float(known.std()) if known.size else np.nan,
        f"bin_width_{unit}": float(edges[1]),
        "share_by_bin": counts / max(known.size, 1),
    }
