"""Joint reconstruction of elements in which the counts themselves choose all weights."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.fusion.clipped import clipped_views
from etcli.core.fusion.element_maps import ElementMaps
from etcli.core.fusion.haadf_channel import fit_beside_rest, with_channel
from etcli.core.fusion.haadf_fit import HaadfFit, fit_haadf
from etcli.core.fusion.held_out import (
    COMMON_FACTORS,
    EVIDENT,
    ITERATIONS,
    QUARTER_DECADES,
    TIES,
    Curve,
    HeldOut,
    Setting,
    Tick,
    Trial,
    fitted,
)
from etcli.core.fusion.parts import Parts
from etcli.core.fusion.problem import FusionProblem
from etcli.core.fusion.scales import voxel_scales
from etcli.core.fusion.view_gains import view_gains

Array = NDArray[np.float32]
Numbers = NDArray[np.float64]

PROBABLE = 1.0
"""Standard errors by which HAADF with a rest has to predict better than no HAADF."""
ROUNDS = 4
"""Fits after which the weights of the elements and what only HAADF shows no longer change each other."""
FINAL, FINAL_TIED = 120, 250
"""Iterations that come within 1 % of the limit, without and with the HAADF series."""


@dataclass(frozen=True, eq=False)
class Choice:
    """All that was found from the counts before the final fit.

    Parameters
    ----------
    problem : FusionProblem
        With the gains, and with HAADF views without their levels.
    setting : Setting
        The prior, the weights and the tie.
    scales : ndarray of shape (n_elements,), float64
        Counts a voxel of density 1.
    minor : tuple of bool
        Whether an element stays out of the joint prior.
    haadf : HaadfFit or None
        Of the elements in HAADF, also where the tie is dropped.
    curves : tuple of Curve
        Deviance against the weight of each element, then against the common factor.
    better_nats : dict of str to float
        By how much held-out counts are predicted better with the "tie", the "rest", HAADF as a "channel" and
        the joint prior "tnv", where they were tried; negative where worse.
    chance_nats : dict of str to float
        Standard errors of these but the last one.
    n_clipped : int
        HAADF views that are clipped at the largest value of the detector.
    """

    problem: FusionProblem
    setting: Setting
    scales: Numbers
    minor: tuple[bool, ...]
    haadf: HaadfFit | None = None
    curves: tuple[Curve, ...] = ()
    better_nats: dict[str, float] = field(default_factory=dict)
    chance_nats: dict[str, float] = field(default_factory=dict)
    n_clipped: int = 0

    @property
    def has_rest(self) -> bool:
        """Whether there is a channel of what only HAADF shows."""
        return len(self.setting.weights) > len(self.scales) and not self.setting.channel

    @property
    def haadf_use(self) -> str:
        """What HAADF is used as: "tie", "channel" or "none"."""
        if self.setting.tie is None:
            return "none"
        return "channel" if self.setting.channel else "tie"

    @property
    def is_tie_evident(self) -> bool:
        """Whether the counts show that HAADF fits them, beyond chance."""
        if self.has_rest or self.setting.channel:
            return True
        return self.better_nats["tie"] > EVIDENT * self.chance_nats["tie"]

    @property
    def iterations(self) -> int:
        """Iterations of the final fit."""
        return FINAL_TIED if self.setting.tie else FINAL


@dataclass(frozen=True, eq=False)
class Fused:
    """Elements that were reconstructed together.

    Parameters
    ----------
    counts : ndarray of shape (n_elements, nz, ny, nx), float32
        Counts a voxel, as a view of mean gain shows them.
    rest : ndarray of shape (nz, ny, nx), float32, or None
        HAADF signal a voxel of what has no map.
    count_factors : ndarray of shape (n_elements,), float64
        Factors by which the fit was multiplied, so that it has the counts that were measured.
    choice : Choice
    """

    counts: Array
    rest: Array | None
    count_factors: Numbers
    choice: Choice


def choose(maps: ElementMaps, parts: Parts, tick: Tick, *, prior: str = "auto") -> Choice:
    """Choose gains, the tie to HAADF, the prior and its weights by the prediction of held-out counts.

    Parameters
    ----------
    maps : ElementMaps
    parts : Parts
        The same counts in two parts.
    tick : callable
        Told the number of iterations done.
    prior : {"auto", "tv", "tnv"}
        Prior of the elements that are not minor; ``auto`` chooses.

    Returns
    -------
    Choice

    Notes
    -----
    Each element's weight of total variation is found first, all in the same fits. With these weights
    the tie is judged, and the channel of what only HAADF shows; then the weights are found once more under
    the tie that is kept, and a common factor of them for the joint prior. HAADF is data as the counts are, so
    it is used unless these contradict it, by two standard errors; a channel more beside it has to predict
    better by as much, and where HAADF cannot be used without, by one standard error than the counts alone.
    Where they do contradict it, HAADF may still show where edges are: as one more channel of the joint
    prior, if that predicts better by two standard errors.
    """
    problem = maps.problem()
    scales = voxel_scales(maps.counts, maps.geometry, threads=maps.threads)
    held_out = HeldOut(problem, parts, scales, maps.minor, tick)
    weights, curves = held_out.element_weights(maps.names)
    alone = held_out.trial(Setting("tv", weights))
    if not maps.fills_views:  # else what enters and leaves the volume is taken for gain
        problem = problem.with_gains(_gains_of_fit(maps, problem, scales, alone.volume))
    choice = Choice(problem, alone.setting, scales, maps.minor, curves=tuple(curves))
    held_out = replace(held_out, problem=problem)
    if maps.haadf is not None:
        choice = _with_tie(choice, maps, held_out, alone)
    separate, held_out = choice.setting, replace(held_out, problem=choice.problem)
    choice = _with_joint_prior(choice, held_out, prior)
    if choice.haadf is None or choice.setting.tie is not None or prior == "tv":
        return choice
    return _with_channel(choice, maps, held_out, separate)


def _gains_of_fit(maps: ElementMaps, problem: FusionProblem, scales: Numbers, volume: Array) -> Numbers:
    """Find the gains of the views from the counts of all elements and a fit of them."""
    sums = [problem.project(of_element).sum(axis=(1, 2), dtype=np.float64) for of_element in volume]
    return view_gains(maps.counts, scales, scales, scales @ np.array(sums))


def _with_tie(choice: Choice, maps: ElementMaps, held_out: HeldOut, alone: Trial) -> Choice:
    """Judge the tie to HAADF, and a channel of what only that shows; find the weights under what is kept."""
    fit = fit_haadf(maps, choice.problem, held_out.parts, choice.scales, alone.volume)
    tied = replace(held_out, problem=choice.problem.with_gains(fit.gains))
    free = float(tied.deviance(alone.volume).sum())
    trials = [tied.trial(replace(alone.setting, tie=fit.tie(strength))) for strength in TIES]
    best = _strongest(trials, tied)
    chance = {"tie": tied.chance(best.volume, tied, alone.volume)}
    better = {"tie": free - best.total}
    is_tied = better["tie"] > -EVIDENT * chance["tie"]
    n_clipped = len(clipped_views(maps.haadf_views, fit.noise))
    choice = replace(choice, haadf=fit, better_nats=better, chance_nats=chance, n_clipped=n_clipped)
    has_rest = False
    if not n_clipped:  # else a rest would make up for what is cut off
        with_rest, rest_fit = _with_rest(choice, maps, held_out, best, _beside_most(maps, fit))
        if min(best.total, with_rest.total) > free:  # elements may be hidden by what has no map
            beside = fit_beside_rest(maps, held_out, fit, alone.setting)
            with_rest, rest_fit = _with_rest(choice, maps, held_out, best, beside)
        rested = replace(held_out, problem=choice.problem.with_gains(rest_fit.gains))
        without, least = (best.volume, best.total) if is_tied else (alone.volume, free)
        chance["rest"] = tied.chance(without, rested, with_rest.volume)
        better["rest"] = least - with_rest.total
        has_rest = better["rest"] > (EVIDENT if is_tied else PROBABLE) * chance["rest"]
    if has_rest:
        best, fit = with_rest, rest_fit
    elif not is_tied:
        return choice  # with the gains that the counts show
    problem = choice.problem.with_gains(fit.gains)
    weights, curves = replace(held_out, problem=problem).element_weights(maps.names, best.setting)
    setting = replace(best.setting, weights=weights)
    return replace(choice, problem=problem, setting=setting, haadf=fit, curves=tuple(curves))


def _strongest(trials: Sequence[Trial], held_out: HeldOut) -> Trial:
    """Return the trial of the strongest tie that the counts do not contradict, as HAADF has less noise."""
    best = min(trials, key=lambda trial: trial.total)
    for trial in sorted(trials, key=lambda trial: -trial.setting.tie.strength if trial.setting.tie else 0.0):
        if trial is best or trial.total - best.total <= EVIDENT * held_out.chance(
            trial.volume, held_out, best.volume
        ):
            return trial
    return best


def _with_rest(
    choice: Choice, maps: ElementMaps, held_out: HeldOut, tied: Trial, fit: HaadfFit
) -> tuple[Trial, HaadfFit]:
    """Fit a channel of what only HAADF shows, and the HAADF signal of the elements beside it, in turn.

    Parameters
    ----------
    choice, maps, held_out
        As for `_with_tie`.
    tied : Trial
        The best one without.
    fit : HaadfFit
        With the signal of the elements, and of what has no map, to start from.

    Returns
    -------
    Trial, HaadfFit
        The best of at most `ROUNDS`; the first one where that does not predict better than without.
    """
    most = int(np.argmax(maps.sums))
    weights = np.append(tied.setting.weights, tied.setting.weights[most])
    strength = tied.setting.tie.strength if tied.setting.tie else TIES[0]

    def fitted_with(fit: HaadfFit) -> Trial:
        gained = replace(held_out, problem=choice.problem.with_gains(fit.gains))
        return gained.trial(Setting("tv", weights, fit.tie(strength)))

    best, least = (fitted_with(fit), fit), tied.total
    for _ in range(1, ROUNDS):
        if best[0].total >= least:
            break
        least, volume = best[0].total, best[0].volume
        fit = fit_haadf(maps, choice.problem, held_out.parts, choice.scales, volume, rest=fit.rest)
        again = fitted_with(fit)
        best = (again, fit) if again.total < least else best
    return best


def _beside_most(maps: ElementMaps, fit: HaadfFit) -> HaadfFit:
    """Give what has no map the signal of the element of most counts."""
    most = int(np.argmax(maps.sums))
    return replace(fit, rest=float(fit.weights[most]) or float(fit.weights.max()))


def _with_channel(choice: Choice, maps: ElementMaps, held_out: HeldOut, separate: Setting) -> Choice:
    """Judge HAADF as one more channel of the joint prior, where the elements are not tied to it."""
    assert choice.haadf is not None
    setting, _, curve = held_out.common_factor(with_channel(maps, choice.haadf, separate, "tnv"))
    best, without = held_out.trial(setting), held_out.trial(choice.setting)
    better = without.total - best.total
    chance = held_out.chance(best.volume, held_out, without.volume)
    choice = replace(
        choice,
        better_nats=choice.better_nats | {"channel": better},
        chance_nats=choice.chance_nats | {"channel": chance},
    )
    if better <= EVIDENT * chance:
        return choice
    return replace(choice, setting=setting, curves=(*choice.curves, curve))


def _with_joint_prior(choice: Choice, held_out: HeldOut, prior: str) -> Choice:
    """Judge the joint prior of the elements that are not minor."""
    if prior == "tv" or choice.minor.count(False) < 2:
        return choice
    major = ~np.array(choice.minor)
    separate = held_out.trial(choice.setting)
    setting, deviance, curve = held_out.common_factor(replace(choice.setting, prior="tnv"))
    better = float((separate.deviance - deviance)[major].sum())
    choice = replace(choice, curves=(*choice.curves, curve), better_nats=choice.better_nats | {"tnv": better})
    return choice if prior == "auto" and better <= 0 else replace(choice, setting=setting)


def most_iterations(maps: ElementMaps) -> int:
    """Return the largest number of iterations that `choose` and `fuse_all` may take."""
    sweep, joint = len(QUARTER_DECADES) + 1, len(COMMON_FACTORS) + 1
    if maps.haadf is None:
        return ITERATIONS * (sweep + joint) + FINAL
    rest, channel = 2 * ROUNDS + 1, joint + 1
    return ITERATIONS * (2 * sweep - 1 + len(TIES) + rest + joint + channel) + FINAL_TIED


def fuse_all(maps: ElementMaps, choice: Choice, tick: Tick) -> Fused:
    """Fit all counts with the weights that were chosen, and give each element the counts that it has.

    Parameters
    ----------
    maps : ElementMaps
    choice : Choice
    tick : callable
        Told the number of iterations done.

    Returns
    -------
    Fused

    Notes
    -----
    Total variation shrinks what is small and faint. The counts of a map are known better than anything
    else about its element, so the volume is multiplied by the measured over the expected counts.
    """
    problem, scales, n = choice.problem, choice.scales, len(choice.scales)
    fit = fitted(problem, scales, choice.setting, choice.minor, choice.iterations, tick)
    expected = [problem.expected(c, fit.volume[c], scales[c]).sum(dtype=np.float64) for c in range(n)]
    factors = np.divide(maps.sums, expected, out=np.ones(n), where=np.array(expected) > 0)
    counts = fit.volume[:n] * (factors * scales).astype(np.float32)[:, np.newaxis, np.newaxis, np.newaxis]
    rest = fit.volume[n] * np.float32(choice.haadf.rest) if choice.has_rest and choice.haadf else None
    return Fused(counts, rest, factors, choice)
