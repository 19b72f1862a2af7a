"""Exact percentiles of images that are read one after the other, usually once.

Some images show about where a percentile lies. While all of them are read, the pixels below that range are
counted and those within it are kept; the percentile is among these. Where it is not, as the images differ a
lot, a second reading looks only at the pixels of one of 65536 classes, which were counted at the first.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etcli.core.parallel import ordered_map

Image = NDArray[np.float32]
Keys = NDArray[np.uint32]
Integers = NDArray[np.int64]
Read = Callable[[int], Image]

HALF_BITS = 16
"""Bits of the class of a pixel, the upper half of its sort key."""
SIGN = 1 << 31
ONE_OF = 16
"""One of so many images is read before the others."""
MOST_SAMPLED = 1 << 20
"""Pixels of these images that are sorted."""
MARGIN = 0.01
"""Fraction of all pixels by which a percentile of these images may be wrong."""
KEPT_OF = 8
"""The pixels kept are at most an eighth of all."""


class _Counts(NamedTuple):
    """Pixels of each class; below, at both ends and within each range of keys; and the keys within.

    ``numbers`` has a row (below, at the low end, within, at the high end) per range.
    """

    classes: Integers
    numbers: Integers
    within: list[Keys]


def values_at(
    read: Read, n: int, fractions: Sequence[float], *, most_kept: int | None = None, threads: int = 1
) -> list[float]:
    """Find the values below which given fractions of all pixels lie.

    Parameters
    ----------
    read : callable
        ``read(k)`` returns image ``k``, an array of float32; all are of one shape.
    n : int
        Number of images.
    fractions : sequence of float
        From 0 to 1.
    most_kept : int, optional
        Largest number of pixels to keep, at most an eighth of all, which is the default; where it does not
        suffice, all images are read again.
    threads : int

    Returns
    -------
    list of float
        Values of pixels, at the ranks ``int(fraction * (number of pixels - 1))``.
    """
    ranges = _likely_ranges(read, n, fractions)
    classes, numbers = np.zeros(1 << HALF_BITS, np.int64), np.zeros((len(ranges), 4), np.int64)
    within: list[list[Keys]] = [[] for _ in ranges]
    n_kept = 0
    for counts in ordered_map(lambda k: _count(read(k), ranges), range(n), threads=threads):
        classes, numbers = classes + counts.classes, numbers + counts.numbers
        n_kept += sum(map(len, counts.within))
        eighth = n * int(counts.classes.sum()) // KEPT_OF
        fit = n_kept <= (eighth if most_kept is None else min(eighth, most_kept))
        for kept, keys in zip(within, counts.within, strict=True):
            if fit:
                kept.append(keys)
            else:
                kept.clear()  # of no use without the others
    ranks = [int(fraction * (int(classes.sum()) - 1)) for fraction in fractions]
    found = [
        _key_in_range(rank, ends, of_range, kept)
        for rank, ends, of_range, kept in zip(ranks, ranges, numbers.tolist(), within, strict=True)
    ]
    if any(key is None for key in found):
        found = _keys_in_classes(read, n, ranks, classes, threads)
    return [_value(key) for key in found if key is not None]


def _likely_ranges(read: Read, n: int, fractions: Sequence[float]) -> list[tuple[int, int]]:
    """Return the lowest and highest sort key between which the percentiles of some images lie."""
    m = max(1, n // ONE_OF)
    sampled = []
    for k in range(m):
        of_image = _sort_keys(read(int((k + 0.5) * n / m)))
        sampled.append(of_image[:: -(-m * len(of_image) // MOST_SAMPLED)].copy())  # frees the image
    keys = np.concatenate(sampled)
    keys.sort()
    last = len(keys) - 1
    lows = (int(np.floor((fraction - MARGIN) * last)) for fraction in fractions)
    highs = (int(np.ceil((fraction + MARGIN) * last)) for fraction in fractions)
    return [
        (int(keys[low]) if low > 0 else 0, int(keys[high]) if high < last else 2 * SIGN - 1)
        for low, high in zip(lows, highs, strict=True)
    ]


def _count(image: Image, ranges: Sequence[tuple[int, int]]) -> _Counts:
    """Count the pixels of an image."""
    keys = _sort_keys(image)
    classes = np.bincount(keys >> HALF_BITS, minlength=1 << HALF_BITS)
    numbers, within = [], []
    for low, high in ranges:
        inside = keys[(keys > low) & (keys < high)]
        at_low, at_high = np.count_nonzero(keys == low), np.count_nonzero(keys == high) * (high > low)
        numbers.append((np.count_nonzero(keys < low), at_low, len(inside), at_high))
        within.append(inside)
    return _Counts(classes, np.array(numbers, np.int64), within)


def _key_in_range(rank: int, ends: tuple[int, int], numbers: list[int], kept: list[Keys]) -> int | None:
    """Return the sort key at a rank of all pixels; None if it is not in the range, or keys were not kept."""
    below, at_low, n_within, at_high = numbers
    place = rank - below
    if 0 <= place < at_low:
        return ends[0]
    place -= at_low
    if 0 <= place < n_within:
        keys = np.concatenate(kept) if kept else np.empty(0, np.uint32)
        if len(keys) != n_within:
            return None
        keys.partition(place)
        return int(keys[place])
    return ends[1] if 0 <= place - n_within < at_high else None


def _keys_in_classes(
    read: Read, n: int, ranks: Sequence[int], classes: Integers, threads: int
) -> list[int | None]:
    """Return the sort keys at some ranks, by the lower halves of the keys of one class each."""
    upper = [int(np.searchsorted(np.cumsum(classes), rank, "right")) for rank in ranks]

    def count(k: int) -> Integers:
        keys = _sort_keys(read(k))
        lower = keys & ((1 << HALF_BITS) - 1)
        return np.array([np.bincount(lower[keys >> HALF_BITS == u], minlength=1 << HALF_BITS) for u in upper])

    table = sum(
        ordered_map(count, range(n), threads=threads), np.zeros((len(upper), 1 << HALF_BITS), np.int64)
    )
    return [
        u << HALF_BITS | int(np.searchsorted(np.cumsum(lower), rank - int(classes[:u].sum()), "right"))
        for rank, u, lower in zip(ranks, upper, table, strict=True)
    ]


def _sort_keys(image: Image) -> Keys:
    """Return unsigned integers in the order of the values: bits of a float32, reversed where negative."""
    bits = np.ascontiguousarray(image, np.float32).reshape(-1).view(np.uint32)
    return np.asarray(np.where(bits >> 31, ~bits, bits | SIGN), np.uint32)


def _value(key: int) -> float:
    """Return the value of a sort key."""
    bits = key ^ SIGN if key & SIGN else key ^ 0xFFFFFFFF
    return float(np.uint32(bits).view(np.float32))
