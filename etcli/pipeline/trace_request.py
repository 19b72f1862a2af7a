"""Request of a tracing of atoms: its options, checked, and the rules of the search that follow from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from etcli.core.arguments import check_choice
from etcli.core.atoms.cleaning import AtomCriteria
from etcli.core.atoms.tracing import TraceRules
from etcli.core.covalent_radii import shortest_bond_A
from etcli.core.errors import UsageError
from etcli.core.lengths import Length

AUTO = "auto"
LEAST_DISTANCE_A, SHARE_OF_BOND = 1.6, 0.75
"""Automatic least distance of atoms: at most so many Å, and so much of the shortest bond. Bonds may be
shorter than the sum of covalent radii, and noise displaces atoms."""
Species = Sequence[str] | int | None


@dataclass(frozen=True)
class TraceRequest:
    """Options of a tracing, named as those of ``etcli trace-atoms``.

    Parameters
    ----------
    species : sequence of str, int or None
        Elements to distinguish, the faintest first; or their number; None to find the number.
    fit : {"auto", "gaussian", "shared", "elliptical", "polynomial"}
        Model that is fitted to an atom; auto: Gaussians, of one width where atoms are narrower than 0.9
        voxels.
    detect : {"peaks", "dog"}
        Maxima of the smoothed volume, or of a difference of Gaussians.
    min_distance : Length or "auto"
        Least distance of atoms; auto: 1.6 Å, or three quarters of the shortest bond between the elements
        named, if that is less.
    sigma, merge_distance : Length
        Standard deviation of an atom, and distance below which maxima are merged.
    smooth, hold : Length or "auto"
        Smoothing before the fit, and restraint of positions in a refinement.
    threshold : float or None
        Least score of an atom.
    expected : int or None
        Number of atoms.
    min_intensity, local_intensity : float
        Fractions of the usual intensity, overall and nearby, below which a maximum is no atom.
    width_range : (float, float)
        Least and largest width, relative to the usual one.
    min_neighbours : int
        Least number of neighbours within 6 Å.
    correct_depth : bool
        Whether a drift of scores with depth is corrected.
    """

    species: Species = None
    fit: str = AUTO
    detect: str = "peaks"
    min_distance: Length | str = AUTO
    sigma: Length = Length(0.5, "A")
    merge_distance: Length = Length(1.1, "A")
    smooth: Length | str = AUTO
    hold: Length | str = AUTO
    threshold: float | None = None
    expected: int | None = None
    min_intensity: float = 0.05
    local_intensity: float = 0.25
    width_range: tuple[float, float] = (0.5, 1.6)
    min_neighbours: int = 0
    correct_depth: bool = False

    def __post_init__(self) -> None:
        check_choice("fit", self.fit, (AUTO, "gaussian", "shared", "elliptical", "polynomial"))
        check_choice("detection", self.detect, ("peaks", "dog"))
        if isinstance(self.species, int) and self.species < 1:
            raise UsageError(f"--species {self.species}: give 1 or more, or the elements")

    @property
    def symbols(self) -> tuple[str, ...] | None:
        """The elements, None where only their number is given."""
        return None if self.species is None or isinstance(self.species, int) else tuple(self.species)

    def check(self, *, refined: bool, oriented: bool = False) -> None:
        """Check the options; raise UsageError for lengths out of range and contradictory options.

        Parameters
        ----------
        refined, oriented : bool
            Whether there are views to refine against, and whether their orientations are given.

        Raises
        ------
        UsageError
        """
        for name, zero_allowed in (
            ("min_distance", False),
            ("sigma", False),
            ("hold", False),
            ("smooth", True),
            ("merge_distance", True),
        ):
            length = getattr(self, name)
            if isinstance(length, Length) and not (length.value > 0 or (zero_allowed and length.value == 0)):
                option, least = name.replace("_", "-"), "0 or more" if zero_allowed else "one above 0"
                raise UsageError(f"--{option} {length.value:g}{length.unit} is no length; give {least}")
        if not refined and (oriented or self.hold != AUTO):
            raise UsageError("--euler and --hold are for --refine SERIES; name the series")
        if refined and self.fit == "polynomial":
            raise UsageError("--fit polynomial is for positions from the volume; leave it or --refine out")

    def rules(self, pixel_A: float) -> TraceRules:
        """Rules of the search for a given voxel size.

        Raises
        ------
        UsageError
            When a number is out of range, or two contradict each other.
        """
        if self.threshold is not None and self.expected is not None:
            raise UsageError("--threshold and --expected decide the same; leave one of them out")
        if self.threshold is not None and not 0 < self.threshold < float("inf"):
            raise UsageError(f"--threshold {self.threshold:g} is no density; give one above 0")

        freedom: Any = {AUTO: None, "gaussian": "isotropic", "polynomial": "isotropic"}.get(
            self.fit, self.fit
        )
        least = self._least_distance_A(pixel_A)
        merge = self.merge_distance.angstrom(pixel_A)
        return TraceRules(
            sigma_A=self.sigma.angstrom(pixel_A),
            smoothing_A=self.smooth.angstrom(pixel_A) if isinstance(self.smooth, Length) else None,
            detect=self.detect,
            freedom=freedom,
            n_species=len(self.symbols) if self.symbols else self.species,  # type: ignore[arg-type]
            threshold=self.threshold,
            expected=self.expected,
            cleaning=AtomCriteria(
                min_distance_A=least,
                merge_distance_A=min(merge, least),
                least_intensity=self.min_intensity,
                widths=self.width_range,
                least_neighbours=self.min_neighbours,
                local_intensity=self.local_intensity,
            ),
        )

    def _least_distance_A(self, pixel_A: float) -> float:
        """Return the least distance of atoms in Å."""
        if isinstance(self.min_distance, Length):
            return self.min_distance.angstrom(pixel_A)
        bond_A = shortest_bond_A(self.symbols) if self.symbols else LEAST_DISTANCE_A / SHARE_OF_BOND
        return min(LEAST_DISTANCE_A, SHARE_OF_BOND * bond_A)

    def restraint_A(self, pixel_A: float) -> float | None:
        """Restraint of positions in a refinement in Å; None to determine it by cross-validation."""
        return self.hold.angstrom(pixel_A) if isinstance(self.hold, Length) else None
