"""Kernels that work on the counts of spectra, of which only the channels with counts are kept."""

import numpy as np

from etcli.core.jit import jit


@jit
def filled_channels(spectra, filled):  # type: ignore[no-untyped-def]
    """Write how many channels of each spectrum have counts; return how many values are no counts."""
    n, n_channels = spectra.shape
    wrong = 0
    for i in range(n):
        found = 0
        for c in range(n_channels):
            value = spectra[i, c]
            if value != 0:
                found += 1
                if not (0 < value <= 65535 and value == np.floor(value)):
                    wrong += 1
        filled[i] = found
    return wrong


@jit
def keep_counts(spectra, start, channel, count):  # type: ignore[no-untyped-def]
    """Write the channels that have counts, and these; those of spectrum i begin at start[i]."""
    n, n_channels = spectra.shape
    for i in range(n):
        k = start[i]
        for c in range(n_channels):
            if spectra[i, c] != 0:
                channel[k] = c
                count[k] = spectra[i, c]
                k += 1


@jit
def random_number(seed, place, photon):  # type: ignore[no-untyped-def]
    """Return a number from 0 to 1 that depends on nothing but its arguments.

    The mixing is that of splitmix64: G. L. Steele et al., ACM SIGPLAN Notices 49, 453 (2014).
    """
    z = np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(place)
    z = z * np.uint64(0x9E3779B97F4A7C15) + np.uint64(photon) * np.uint64(0xBF58476D1CE4E5B9)
    for _ in range(2):
        z += np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@jit
def thin_counts(start, channel, count, probability, seed, first, n_channels, kept):  # type: ignore[no-untyped-def]
    """Write how many photons of each count are drawn, each with the same probability.

    The draw depends on the seed, the number of the pixel (from `first` on), the channel and the photon only.
    """
    for i in range(len(start) - 1):
        for k in range(start[i], start[i + 1]):
            place = (first + i) * n_channels + channel[k]
            drawn = 0
            for photon in range(count[k]):
                if random_number(seed, place, photon) < probability:
                    drawn += 1
            kept[k] = drawn


@jit
def weighted_sums(start, channel, count, weights, maps):  # type: ignore[no-untyped-def]
    """Write for each spectrum the sums of its counts times weights (n_channels, n_maps)."""
    for i in range(len(start) - 1):
        maps[i] = 0
        for k in range(start[i], start[i + 1]):
            for m in range(weights.shape[1]):
                maps[i, m] += count[k] * weights[channel[k], m]


@jit
def add_to_blocks(start, channel, count, block, sums):  # type: ignore[no-untyped-def]
    """Add the spectrum of each pixel to the sum (n_blocks, n_channels) of its block; to none below 0."""
    for i in range(len(start) - 1):
        if block[i] < 0:
            continue
        for k in range(start[i], start[i + 1]):
            sums[block[i], channel[k]] += count[k]


@jit
def assign_counts(start, channel, count, spectra, expected, maps):  # type: ignore[no-untyped-def]
    """Share the counts of each spectrum out among known spectra: x Sᵀ(c/Sx) for the expected maps x.

    Parameters
    ----------
    start : ndarray of shape (n + 1,), int64
    channel : ndarray of uint16
    count : ndarray of uint16
    spectra : ndarray of shape (n_channels, n_spectra), float32
        Each with the sum 1.
    expected, maps : ndarray of shape (n, n_spectra), float32
        The maps x, and those that are written.
    """
    n_spectra = spectra.shape[1]
    factor = np.empty(n_spectra, np.float32)
    tiny = np.float32(1e-30)
    for i in range(len(start) - 1):
        x = expected[i]
        factor[:] = 0
        k, end = start[i], start[i + 1]
        while k + 4 <= end:  # four sums at a time, which do not wait for each other
            a, b, c, d = channel[k], channel[k + 1], channel[k + 2], channel[k + 3]
            za, zb, zc, zd = tiny, tiny, tiny, tiny
            for s in range(n_spectra):
                za += x[s] * spectra[a, s]
                zb += x[s] * spectra[b, s]
                zc += x[s] * spectra[c, s]
                zd += x[s] * spectra[d, s]
            ra, rb = np.float32(count[k]) / za, np.float32(count[k + 1]) / zb
            rc, rd = np.float32(count[k + 2]) / zc, np.float32(count[k + 3]) / zd
            for s in range(n_spectra):
                factor[s] += (ra * spectra[a, s] + rb * spectra[b, s]) + (
                    rc * spectra[c, s] + rd * spectra[d, s]
                )
            k += 4
        while k < end:
            a, za = channel[k], tiny
            for s in range(n_spectra):
                za += x[s] * spectra[a, s]
            ra = np.float32(count[k]) / za
            for s in range(n_spectra):
                factor[s] += ra * spectra[a, s]
            k += 1
        for s in range(n_spectra):
            maps[i, s] = x[s] * factor[s]


@jit
def smooth_maps(maps, weight):  # type: ignore[no-untyped-def]
    """Smooth maps (ny, nx, n) in place with the kernel (w, 1 − 2w, w) along y and x; edges are repeated."""
    ny, nx, n = maps.shape
    w, middle = np.float32(weight), np.float32(1 - 2 * weight)
    before, row = np.empty(n, np.float32), np.empty((nx, n), np.float32)
    for y in range(ny):
        before[:] = maps[y, 0]
        for x in range(nx):
            after = maps[y, min(x + 1, nx - 1)]
            for s in range(n):
                here = maps[y, x, s]
                maps[y, x, s] = middle * here + w * (before[s] + after[s])
                before[s] = here
    row[:] = maps[0]
    for y in range(ny):
        after_row = maps[min(y + 1, ny - 1)]
        for x in range(nx):
            for s in range(n):
                here = maps[y, x, s]
                maps[y, x, s] = middle * here + w * (row[x, s] + after_row[x, s])
                row[x, s] = here
