"""Species of refined atoms, and which of them are atoms at all, by their amplitudes in the views."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.atoms.mixture import Mixture, fit_mixture, refit_mixture, species_doubt
from etcli.core.atoms.score_mixture import separating_mixture
from etcli.core.errors import DataError

Doubles = NDArray[np.float64]
Kinds = NDArray[np.intp]

LEAST = 0.1
"""Smallest amplitude that counts, as a share of that of strong atoms."""
STRONG_PERCENTILE = 90
SIGNIFICANT = 3.0
"""Smallest amplitude of strong atoms, in the error of an amplitude."""


@dataclass(frozen=True, eq=False)
class AmplitudeClasses:
    """Classes of atoms by amplitude.

    Parameters
    ----------
    mixture : Mixture
        Distribution of the amplitudes.
    probability : ndarray of shape (n_atoms, 1 + n_species), float64
        Probability that each is no atom, or an atom of each species, the lightest first.
    """

    mixture: Mixture
    probability: Doubles

    @property
    def are_atoms(self) -> NDArray[np.bool_]:
        """Whether each is more likely an atom than not."""
        return np.asarray(self.probability[:, 0] < 0.5)

    @property
    def kind(self) -> Kinds:
        """Number of the most likely species of each."""
        return np.asarray(self.probability[:, 1:].argmax(axis=1))

    @property
    def doubt(self) -> float:
        """Estimated share of atoms that may be of another species than the most likely one."""
        return species_doubt(self.probability[self.are_atoms])


def amplitude_classes(
    amplitude: Doubles, error: Doubles, kind: Kinds, *, n_species: int, removed: Doubles
) -> AmplitudeClasses:
    """Divide refined atoms between noise and species.

    Parameters
    ----------
    amplitude : ndarray of shape (n_atoms,), float64
        From a refinement with one width, and without a restraint of amplitudes if there are several species.
    error : ndarray of shape (n_atoms,), float64
        Standard deviations of the amplitudes, from the Fisher information.
    kind : ndarray of shape (n_atoms,), int
        Number of the species of each so far, which may be wrong; -1 where it is unknown.
    n_species : int
    removed : ndarray of shape (n,), float64
        Amplitudes of noise that has been removed already, without which weak atoms would look like noise.

    Returns
    -------
    AmplitudeClasses

    Raises
    ------
    DataError
        When no amplitude is significant.

    Notes
    -----
    The mixture is that of the scores in a volume. With several species, a fit that starts from those known so
    far is compared with one to the histogram alone: the former may be caught in wrong species, and the latter
    take a rare light species for noise, and divide a heavy one. The density of noise then only decays, as
    light atoms are a maximum.
    The scatter of a species is due to differences between its atoms, and to errors, which may be larger for
    one atom than for others; its probabilities account for its own.
    """
    least = LEAST * float(np.percentile(amplitude, STRONG_PERCENTILE))
    if not least > LEAST * SIGNIFICANT * float(np.median(error)):
        raise DataError(
            "the views show none of the atoms of the volume; is it the series that was reconstructed, with "
            "the same angles?"
        )
    known = np.concatenate([amplitude, removed])
    if n_species == 1:
        # most are atoms, however bright a few are
        used = known[known > least]
        mixture, _ = separating_mixture(used, used > np.median(used) / 2, threshold=least, n_species=1)
    else:
        kinds = np.concatenate([kind, np.full(len(removed), -1)])
        used, kinds = known[known > least], kinds[known > least]
        mixture = max(
            refit_mixture(used, kinds, threshold=least, n_species=n_species, most_shape=1),
            fit_mixture(used, threshold=least, n_species=n_species, most_shape=1),
            key=lambda each: each.log_likelihood,
        )
    typical = float(np.sqrt(np.median(error**2)))
    own = np.sqrt(np.maximum(mixture.deviation**2 - typical**2, 0) + error[:, np.newaxis] ** 2)
    return AmplitudeClasses(mixture, replace(mixture, deviation=own).probabilities(amplitude))
