"""Weights of the priors that predict held-out counts best."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.fusion.iteration import FusionState
from etcli.core.fusion.parts import Parts
from etcli.core.fusion.problem import LEAST, FusionProblem
from etcli.core.fusion.solve import FusionResult, solve

Array = NDArray[np.float32]
Numbers = NDArray[np.float64]
Tick = Callable[[int], None]

ITERATIONS = 100
TYPICAL = 1.25
"""Weight of total variation over the square root of the scale; the best were 0.5 to 3.5 of it in trials."""
QUARTER_DECADES = 10.0 ** np.arange(0.75, -0.76, -0.25)
COMMON_FACTORS = (2.0, 1.4, 1.0, 0.7, 0.5)
EVIDENT = 2.0
"""Standard errors by which a prediction is better or worse; that happens by chance in 1 of 40 cases."""
TIES = (0.03, 0.3)
"""Weights of the HAADF misfit that are tried, 1 for its likelihood; all between do as well."""


@dataclass(frozen=True, eq=False)
class Tie:
    """Tie of the elements to the HAADF series.

    Parameters
    ----------
    strength : float
        Weight m of its misfit (m/2σ²)‖h − A Σ w_c x_c‖².
    weights : ndarray of shape (n_channels,), float64
        HAADF signal w_c of a voxel of density 1.
    noise : float
        Standard deviation σ of a pixel.
    levels : ndarray of shape (n_haadf_views,), float64
        What each view shows without specimen.
    """

    strength: float
    weights: Numbers
    noise: float
    levels: Numbers


@dataclass(frozen=True, eq=False)
class Setting:
    """Weights with which elements are fitted.

    Parameters
    ----------
    prior : {"tv", "tnv"}
        Prior of the elements that are not minor.
    weights : ndarray of shape (n_channels,), float64
        Weight λ_c of each element, and of what only the HAADF series shows.
    tie : Tie or None
        Tie to the HAADF series.
    channel : bool
        Whether HAADF is tied to a volume of its own only, which shares the joint prior of the elements.
    """

    prior: str
    weights: Numbers
    tie: Tie | None = None
    channel: bool = False


def fitted(
    problem: FusionProblem,
    scales: Numbers,
    setting: Setting,
    minor: Sequence[bool],
    iterations: int,
    tick: Tick,
    start: FusionState | None = None,
) -> FusionResult:
    """Fit elements to counts, and tell ``tick(1)`` after every iteration."""
    tie = setting.tie
    tied: dict[str, Any] = {}
    if tie:
        tied = {
            "haadf_weights": tie.weights,
            "haadf_noise": tie.noise,
            "haadf_constant": tie.levels,
            "tie": tie.strength,
        }
    return solve(
        problem,
        scales,
        setting.weights,
        prior=setting.prior,
        alone=[c for c, few in enumerate(minor) if few],
        iterations=iterations,
        start=start,
        report=lambda iteration, change: tick(1),
        **tied,
    )


@dataclass(frozen=True, eq=False)
class Trial:
    """A fit of the training counts, and how well it predicts the held-out ones.

    Parameters
    ----------
    setting : Setting
    deviance : ndarray of shape (n_elements,), float64
        Σ z − y − y log(z/y) of the held-out counts y and their prediction z, in nats: less is better.
    volume : ndarray of shape (n_channels, nz, ny, nx), float32
        The fit.
    state : FusionState or None
        Its variables, if they are kept for the next one.
    """

    setting: Setting
    deviance: Numbers
    volume: Array
    state: FusionState | None = None

    @property
    def total(self) -> float:
        """The deviance of all elements."""
        return float(self.deviance.sum())


@dataclass(frozen=True)
class Curve:
    """Deviance of held-out counts against a weight, or a factor of weights.

    Parameters
    ----------
    name : str
        The element, or what was varied.
    tried, deviance : tuple of float
        The values in the order of trial, and the deviance in nats above the least.
    best : float
        The value that is used.
    """

    name: str
    tried: tuple[float, ...]
    deviance: tuple[float, ...]
    best: float


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Training counts that are fitted, and held-out counts that are predicted.

    Parameters
    ----------
    problem : FusionProblem
        With all counts.
    parts : Parts
    scales : ndarray of shape (n_elements,), float64
    minor : tuple of bool
        Whether an element stays out of the joint prior.
    tick : callable
        Told the number of iterations done.
    """

    problem: FusionProblem
    parts: Parts
    scales: Numbers
    minor: tuple[bool, ...]
    tick: Tick

    def trial(self, setting: Setting, start: Trial | None = None, *, keep: bool = False) -> Trial:
        """Fit the training counts, from the state of another trial on, and predict the others."""
        share = self.parts.fraction
        tie = setting.tie and replace(setting.tie, strength=share * setting.tie.strength)
        fit = fitted(
            self.parts.train(self.problem),
            self.parts.scales[0] * self.scales,
            replace(setting, weights=share * setting.weights, tie=tie),
            self.minor,
            ITERATIONS,
            self.tick,
            start.state if start else None,
        )
        return Trial(setting, self.deviance(fit.volume), fit.volume, fit.state if keep else None)

    def deviance(self, volume: Array) -> Numbers:
        """Return the deviance of the held-out counts, for each element."""
        held_out = self.parts.test(self.problem)
        return np.asarray(held_out.deviance(volume, self.parts.scales[1] * self.scales), np.float64)

    def chance(self, volume: Array, other: "HeldOut", other_volume: Array) -> float:
        """Return the standard error of the difference of deviance between two fits, in nats.

        The held-out counts y are Poisson numbers, and the difference is Σ z − z′ − y log(z/z′) with the two
        predictions z and z′, so its variance is that of the counts times log²(z/z′).
        """
        each = [
            _chance(counts, self._predicted(c, volume[c]), other._predicted(c, other_volume[c]))
            for c, counts in enumerate(self.parts.held_out[1])
        ]
        return float(np.linalg.norm(each))

    def element_weights(
        self, names: Sequence[str], around: "Setting | None" = None
    ) -> tuple[Numbers, list[Curve]]:
        """Find the weight of total variation of each element, all of them in the same fits.

        A minor element gets the largest weight that predicts no worse than the best one, but for chance: its
        counts tell too little, and fits that are too rough predict nearly as well as the best.

        Parameters
        ----------
        names : sequence of str
            The elements.
        around : Setting, optional
            The tie, and the weight of what only HAADF shows.

        Returns
        -------
        ndarray of shape (n_channels,), float64
        list of Curve
            One an element.
        """
        typical = TYPICAL * np.sqrt(self.scales)
        rest = around.weights[len(typical) :] if around else np.empty(0)
        few = [c for c, is_minor in enumerate(self.minor) if is_minor]
        trial, deviance, predicted = None, [], []
        for factor in QUARTER_DECADES:
            weights = np.append(factor * typical, rest)
            trial = self.trial(Setting("tv", weights, around.tie if around else None), trial, keep=True)
            deviance.append(trial.deviance)
            predicted.append([self._predicted(c, trial.volume[c]) for c in few])
        best = np.array([best_factor(QUARTER_DECADES, of_element) for of_element in np.transpose(deviance)])
        for k, c in enumerate(few):
            of_element = [values[c] for values in deviance]
            best[c] = self._smoothest(c, of_element, [maps[k] for maps in predicted], float(best[c]))
        curves = [
            curve(name, unit * QUARTER_DECADES, of_element, unit * factor)
            for name, unit, of_element, factor in zip(
                names, typical, np.transpose(deviance), best, strict=True
            )
        ]
        return np.append(best * typical, rest), curves

    def _predicted(self, element: int, volume: Array) -> Array:
        """Return the expected held-out counts of an element."""
        scale = self.parts.scales[1] * self.scales[element]
        expected = self.parts.test(self.problem).expected(element, volume, float(scale))
        return np.maximum(expected, LEAST, out=expected)

    def _smoothest(
        self, element: int, deviance: Sequence[float], predicted: Sequence[Array], best: float
    ) -> float:
        """Return the largest factor that predicts an element as well as the best one, but for chance."""
        lowest = int(np.argmin(deviance))
        for factor, value, expected in zip(QUARTER_DECADES, deviance, predicted, strict=True):
            counts = self.parts.held_out[1][element]
            if value - deviance[lowest] <= EVIDENT * _chance(counts, expected, predicted[lowest]):
                return max(best, float(factor))
        return best

    def common_factor(self, setting: Setting) -> tuple[Setting, Numbers, Curve]:
        """Find the factor of the weights of all elements in a joint prior; minor ones keep theirs.

        Returns
        -------
        Setting
            With the best factor.
        ndarray of shape (n_elements,), float64
            The least deviance that was found.
        Curve
        """
        joint = np.array(
            [*(not few for few in self.minor), *[True] * (len(setting.weights) - len(self.minor))]
        )
        trial, deviance = None, []
        for factor in COMMON_FACTORS:
            weights = np.where(joint, factor, 1.0) * setting.weights
            trial = self.trial(replace(setting, weights=weights), trial, keep=True)
            deviance.append(trial.deviance)
            totals = np.sum(deviance, axis=1)
            if len(totals) > 2 and totals[-1] > totals[-2] > totals[-3]:
                break
        tried = np.array(COMMON_FACTORS[: len(deviance)])
        best = best_factor(tried, totals)
        chosen = replace(setting, weights=np.where(joint, best, 1.0) * setting.weights)
        return chosen, deviance[int(np.argmin(totals))], curve("all", tried, totals, best)


def _chance(counts: Array, first: Array, second: Array) -> float:
    """Return the standard error of the difference of deviance of two predictions of the same counts."""
    return float(np.sqrt((counts * np.log(first / second) ** 2).sum(dtype=np.float64)))


def best_factor(tried: Numbers, deviance: Sequence[float] | Numbers) -> float:
    """Find the minimum of the parabola through the lowest of some values and its neighbours.

    The values may be spaced unevenly on the logarithmic axis; a lowest value at an end is taken itself.
    """
    at, lowest = np.log(tried), int(np.argmin(deviance))
    if lowest in (0, len(at) - 1):
        return float(tried[lowest])
    near = slice(lowest - 1, lowest + 2)
    square, slope, _ = np.polyfit(at[near] - at[lowest], np.asarray(deviance)[near], 2)
    return float(tried[lowest] * np.exp(-slope / (2 * square))) if square > 0 else float(tried[lowest])


def curve(name: str, tried: Numbers, deviance: Sequence[float] | Numbers, best: float) -> Curve:
    """Record a curve, above its least deviance."""
    values = np.asarray(deviance, np.float64)
    above = values - values.min()
    return Curve(name, tuple(map(float, tried)), tuple(map(float, above)), float(best))
