"""Order of the views of an aligned series in tilt, as far as their details show it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from etcli.core.parabola import lowest
from etcli.core.registration.reprojection import DETAIL_PX, SMOOTH_PX, Comparison

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Image = NDArray[np.float32]

IN_ORDER, FEWEST_IN_ORDER = 0.25, 8  # score (measured: in order .3 to 1, shuffled below .28); views
ALIKE = 0.005  # 1 - correlation of views; interpolation alone makes differences as small as this
RELATED, RELATED_BY_CHANCE = 0.6, 4.0  # least relation (round: .0 to .5, others: above .8)
CENTRINGS = 4  # rounds that shift views onto their mean
N_SIGMA = 4.0  # a view must fit another tilt better by this many standard deviations of noise
TINY = np.finfo(np.float32).tiny


class Order(Enum):
    """Whether the details of views agree with the order of their tilt angles."""

    AS_STATED = "as stated"
    MIXED_UP = "mixed up"
    NOT_SHOWN = "not shown"


@dataclass(frozen=True, eq=False)
class Details:
    """Details of views, one row per view, with mean square 1.

    Parameters
    ----------
    flat : ndarray of shape (n_views, ny * nx), float32
        Views without structures larger than some pixels, faded out at their borders, of norm 1.
    """

    flat: Image

    @classmethod
    def of(cls, views: Image, window: Image, *, smooth_px: float = 0.0) -> "Details":
        """Return the details of aligned views (n_views, ny, nx); NaN where they show nothing."""
        known = np.nan_to_num(views)
        details = np.empty_like(known)
        for view, detail in zip(known, details, strict=True):
            detail[:] = ndimage.gaussian_filter(view, smooth_px) if smooth_px else view
            detail -= ndimage.gaussian_filter(view, DETAIL_PX)
        flat = (details * window).reshape(len(views), -1)
        flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), TINY)
        return cls(flat)

    def centred(self, shape: tuple[int, int]) -> "Details":
        """Return the details (ny, nx) shifted onto their mean: only shapes tell the order, not the shifts."""
        spectra = fft.rfft2(self.flat.reshape(-1, *shape))
        frequency = np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])
        shift = np.zeros((2, len(spectra), 1, 1))
        for _ in range(CENTRINGS):
            phase = frequency[0][:, np.newaxis] * shift[0] + frequency[1] * shift[1]
            moved = spectra * np.exp(-2j * np.pi * phase)
            correlation = fft.irfft2(spectra.conj() * moved.mean(axis=0), s=shape)
            shift[..., 0, 0] = np.transpose([_summit(each) for each in correlation])
        flat = fft.irfft2(moved, s=shape).reshape(self.flat.shape).astype(np.float32)
        return Details(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), TINY))

    def likeness(self, other: "Details | None" = None) -> Float:
        """Return the correlation of every view with every view of the same or of another series."""
        return np.asarray(self.flat @ (other or self).flat.T, np.float64)


def _summit(correlation: Float) -> tuple[float, float]:
    """Return where a periodic image is largest, as a shift from 0 in rows and columns."""
    n = correlation.shape
    highest = np.unravel_index(int(correlation.argmax()), n)
    along = []
    for axis in (0, 1):
        line = correlation[:, highest[1]] if axis == 0 else correlation[highest[0]]
        values = -line[(int(highest[axis]) + np.array([-1, 0, 1])) % n[axis]]
        place = int(highest[axis]) + float(np.clip(lowest(values), -0.5, 0.5))
        along.append((place + n[axis] / 2) % n[axis] - n[axis] / 2)
    return along[0], along[1]


def order_of_views(views: Image, comparison: Comparison) -> Order:
    """Check whether views next to each other in tilt are more similar than others.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx), float32
        Aligned views in the order of their angles; NaN where they show nothing.
    comparison : Comparison
        Of views of this shape.

    Returns
    -------
    Order
        Not shown where all views are alike but for noise, as those of a round needle. Fewer than 8 views are
        not compared.

    Notes
    -----
    The score is 1 if each view is most similar to the next one, 0 if neighbours are as similar as any two
    views. It means something only if the views have an order: if a view and the one most similar to it are
    similar to the same others. Noise makes some views more similar than others as well, but each of them to
    different ones. Shifts are removed first: with wrong angles, too, an alignment leaves some that change
    slowly with the stated tilt.
    """
    if len(views) < FEWEST_IN_ORDER:
        return Order.AS_STATED
    likeness = Details.of(views, comparison.window).centred(views.shape[1:]).likeness()
    np.fill_diagonal(likeness, np.nan)
    usual, best = np.nanmean(likeness), np.mean(np.nanmax(likeness, axis=1))
    score = (np.mean(np.diag(likeness, 1)) - usual) / max(best - usual, TINY)
    if _relation(likeness) < max(RELATED, RELATED_BY_CHANCE / len(views)):
        return Order.NOT_SHOWN
    if score > IN_ORDER:
        return Order.AS_STATED
    return Order.NOT_SHOWN if usual > 1 - ALIKE else Order.MIXED_UP


def _relation(likeness: Float) -> float:
    """Return how well the likeness of views with others agrees with that of their most similar partners."""
    by_view = np.nanmean(likeness, axis=1)
    excess = likeness - by_view[:, np.newaxis] - by_view + np.nanmean(likeness)
    related = []
    for view, partner in enumerate(np.nanargmax(likeness, axis=1)):
        others = np.delete(np.arange(len(likeness)), [view, partner])
        first, second = excess[view, others], excess[partner, others]
        first, second = first - first.mean(), second - second.mean()
        related.append(first @ second / max(np.sqrt((first @ first) * (second @ second)), TINY))
    return float(np.mean(related))


def fits_other_tilt(
    views: Image, predicted: Image, folds: Sequence[NDArray[np.intp]], comparison: Comparison
) -> Bool:
    """Find the views that fit the prediction for another view better than their own.

    Parameters
    ----------
    views, predicted : ndarray of shape (n_views, ny, nx), float32
        Aligned views, and their predictions from other views; NaN where a view shows nothing.
    folds : sequence of ndarray of int
        Every n-th view in the order of the angles, from the first, second ... on: views that were left out of
        the same reconstruction.
    comparison : Comparison
        Of views of this shape.

    Returns
    -------
    ndarray of shape (n_views,), bool
        Two views that were swapped, or one that was taken at another tilt, if that is not next to its own.

    Notes
    -----
    Let view k be a P_k + n with noise n, where all are normalised. The correlation with P_j minus that with
    P_k then has the standard deviation s √((1 - c²) 2 (1 - P_j·P_k)), with s that of two images of noise.
    Only views of one fold are compared, because the others contain the noise of view k. Views next to each
    other, which are never in one fold, are suspect if both fit the other's prediction much better than usual.
    Predictions for the first and the last view are less exact, so that these must differ more.
    """
    details, expected = (
        Details.of(each, comparison.window, smooth_px=SMOOTH_PX) for each in (views, predicted)
    )
    fit = details.likeness(expected)
    own = np.diag(fit)[:, np.newaxis]
    noise = comparison.chance(np.isfinite(views).astype(np.float32))[:, np.newaxis]
    sigma = noise * np.sqrt(np.maximum((1 - own**2) * 2 * (1 - expected.likeness()), TINY))
    excess = (fit - own) / np.maximum(sigma, TINY)
    order = np.empty(len(views), np.intp)
    for first, fold in enumerate(folds):
        order[first :: len(folds)] = fold
    limit = np.full(len(views), N_SIGMA)
    limit[order[[0, -1]]] *= 3
    found = np.zeros(len(views), bool)
    for fold in folds:
        found[fold] = excess[np.ix_(fold, fold)].max(axis=1) > limit[fold]
    nearer, farther = order[1:-2], order[2:-1]
    if nearer.size:
        both = np.minimum(excess[nearer, farther], excess[farther, nearer])
        usual = np.median(both)
        swapped = both > usual + N_SIGMA * max(1.0, 1.4826 * float(np.median(np.abs(both - usual))))
        found[nearer[swapped]] = found[farther[swapped]] = True
    return found
