"""Kernels of the waves of one tilt: multislice forwards, misfit to the images, and back for the gradient.

Arrays of waves and spectra are complex64 and longer than what is used of their rows. A spectrum is [kx, ky],
a wave [x, y]. The plans of a `WaveWorkspace`, rows of addresses (plan, source, target), go from one to the
other in two passes each, and compute only the columns that are needed. A transform forwards and one backwards
multiply by the number of pixels; this is divided out where a wave is read.
"""

import numpy as np

from etcli.core.jit import jit
from etcli.core.multislice._fftw_call import run_plan

TO_WAVE, TO_SPECTRUM, TO_IMAGE, FROM_IMAGE = 0, 2, 4, 6
"""First rows of the plans: within the volume's part of the wave, and within the image."""
AMPLITUDE, POISSON = 0, 1
FEWEST = 1e-3
"""Smallest intensity that a model may expect: below it, the gradient of the Poisson misfit has no bound."""


@jit
def _transform(execute, plans, first):  # type: ignore[no-untyped-def]
    """Run the two passes of a transform."""
    for n in range(first, first + 2):
        run_plan(execute, plans[n, 0], plans[n, 1], plans[n, 2])


@jit
def _transmission(phase, out):  # type: ignore[no-untyped-def]
    """Set ``out`` to exp(i phase) - 1, real and imaginary parts in turn, to the accuracy of float32."""
    turn, per_turn = np.float32(2 * np.pi), np.float32(0.5 / np.pi)
    one, half = np.float32(1), np.float32(0.5)
    for i in range(phase.shape[0]):
        f, o = phase[i], out[i]
        for j in range(f.size):
            h = half * (f[j] - turn * np.rint(f[j] * per_turn))
            q = h * h
            s = q * np.float32(1 / 362880) - np.float32(1 / 5040)
            s = h * (one + q * (np.float32(-1 / 6) + q * (np.float32(1 / 120) + q * s)))
            c = q * np.float32(-1 / 3628800) + np.float32(1 / 40320)
            c = one + q * (-half + q * (np.float32(1 / 24) + q * (np.float32(-1 / 720) + q * c)))
            o[2 * j] = np.float32(-2) * s * s
            o[2 * j + 1] = np.float32(2) * s * c


@jit
def _advance(spectrum, added, propagator, n):  # type: ignore[no-untyped-def]
    """Add the scattered wave to the spectrum, and propagate it."""
    for i in range(spectrum.shape[0]):
        s, a, p = spectrum[i], added[i], propagator[i]
        for j in range(n):
            s[j] = (s[j] + a[j]) * p[j]


@jit
def _go_back(spectrum, added, propagator, n):  # type: ignore[no-untyped-def]
    """Add the scattered wave to the spectrum, and propagate it backwards."""
    for i in range(spectrum.shape[0]):
        s, a, p = spectrum[i], added[i], propagator[i]
        for j in range(n):
            s[j] = (s[j] + a[j]) * np.conj(p[j])


@jit
def _scatter(field, change, kept, scale, x0, y0, forwards, keep):  # type: ignore[no-untyped-def]
    """Replace the wave by what the slab adds to it, ``change`` times the wave; keep what leaves the slab."""
    for i in range(change.shape[0]):
        w, c, k = field[x0 + i, y0 : y0 + change.shape[1]], change[i], kept[i]
        if forwards:
            for j in range(w.size):
                wave = w[j] * scale
                w[j] = wave * c[j]
                if keep:
                    k[j] = wave + w[j]
        else:
            for j in range(w.size):
                w[j] = w[j] * scale * np.conj(c[j])


@jit
def enter_specimen(execute, plans, spectrum, added, field, phase, kept, change, x0, y0, n_rows):  # type: ignore[no-untyped-def]
    """Start with the wave 1 in front of the first slab; ``added`` becomes what this slab scatters."""
    spectrum[:] = 0
    spectrum[0, 0] = spectrum.shape[0] * n_rows
    _transmission(phase[0], change.view(np.float32))
    for i in range(change.shape[0]):
        w, c, k = field[x0 + i, y0 : y0 + change.shape[1]], change[i], kept[0, i]
        for j in range(w.size):
            w[j] = c[j]
            k[j] = c[j] + np.complex64(1)
    _transform(execute, plans, TO_SPECTRUM)


@jit
def pass_specimen(execute, plans, spectrum, added, field, phase, kept, change, propagator, x0, y0, n_rows):  # type: ignore[no-untyped-def]
    """Compute the spectrum of the wave that leaves the last slab, at the centre plane of this slab.

    ``phase`` is (n_slabs, x, y) in rad; ``kept``, of the same shape or with a single slab, receives the waves
    that leave the slabs, all of them or the last one.
    """
    scale = np.float32(1 / (spectrum.shape[0] * n_rows))
    enter_specimen(execute, plans, spectrum, added, field, phase, kept, change, x0, y0, n_rows)
    for m in range(1, phase.shape[0]):
        _advance(spectrum, added, propagator, n_rows)
        _transform(execute, plans, TO_WAVE)
        _transmission(phase[m], change.view(np.float32))
        _scatter(field, change, kept[min(m, kept.shape[0] - 1)], scale, x0, y0, True, True)
        _transform(execute, plans, TO_SPECTRUM)
    for i in range(spectrum.shape[0]):
        s, a = spectrum[i], added[i]
        for j in range(n_rows):
            s[j] += a[j]


@jit
def form_image(execute, plans, leaving, spectrum, lens, factor_x, factor_y, n_rows):  # type: ignore[no-untyped-def]
    """Compute the wave in the image: the leaving wave times lens function and focus factors."""
    for i in range(spectrum.shape[0]):
        s, w, t, r = spectrum[i], leaving[i], lens[i], factor_x[i]
        for j in range(n_rows):
            s[j] = w[j] * t[j] * (r * factor_y[j])
    _transform(execute, plans, TO_IMAGE)


@jit
def compare_image(field, image, scale, x0, y0, likelihood):  # type: ignore[no-untyped-def]
    """Replace the wave in the image by the gradient of the misfit; return ``Σ (√intensity - √image)²``."""
    total, zero = 0.0, np.float32(0)
    for i in range(image.shape[0]):
        w, d = field[x0 + i, y0 : y0 + image.shape[1]], image[i]
        row = zero
        for j in range(d.size):
            wave = w[j] * scale
            expected = wave.real * wave.real + wave.imag * wave.imag
            root, seen = np.sqrt(expected), np.sqrt(max(d[j], zero))
            row += (root - seen) * (root - seen)
            if likelihood == POISSON:
                w[j] = wave * (np.float32(1) - d[j] / max(expected, np.float32(FEWEST)))
            elif root > 0:
                w[j] = wave * (np.float32(1) - seen / root)
            else:
                w[j] = -seen
        total += float(row)
    return total


@jit
def collect_image(execute, plans, back, added, lens, factor_x, factor_y, n_rows):  # type: ignore[no-untyped-def]
    """Take the gradient in the image back to the plane of the leaving wave, and add it to ``back``."""
    _transform(execute, plans, FROM_IMAGE)
    for i in range(back.shape[0]):
        b, a, t, r = back[i], added[i], lens[i], factor_x[i]
        for j in range(n_rows):
            b[j] += a[j] * np.conj(t[j] * (r * factor_y[j]))


@jit
def back_through_specimen(  # type: ignore[no-untyped-def]
    execute, plans, spectrum, added, field, phase, kept, change, propagator, x0, y0, n_rows, leaving
):
    """Replace the phases of the slabs by the derivatives of the misfit with respect to them.

    ``spectrum`` is that of the gradient with respect to the leaving wave. Where ``kept`` holds a single slab,
    the waves are computed once more from ``leaving``, the spectrum of the leaving wave: without absorption a
    wave can be followed backwards. Both spectra are overwritten.
    """
    scale = np.float32(1 / (spectrum.shape[0] * n_rows))
    recompute = kept.shape[0] < phase.shape[0]
    for m in range(phase.shape[0] - 1, -1, -1):
        wave = kept[0 if recompute else m]
        _transmission(phase[m], change.view(np.float32))
        if recompute:
            _swap(spectrum, leaving, n_rows)
            _transform(execute, plans, TO_WAVE)
            for i in range(change.shape[0]):
                w, k = field[x0 + i, y0 : y0 + change.shape[1]], wave[i]
                for j in range(w.size):
                    k[j] = w[j] * scale
            if m > 0:
                _scatter(field, change, wave, scale, x0, y0, False, False)
                _transform(execute, plans, TO_SPECTRUM)
                _go_back(spectrum, added, propagator, n_rows)
            _swap(spectrum, leaving, n_rows)
        _transform(execute, plans, TO_WAVE)
        for i in range(change.shape[0]):
            w, u, d = field[x0 + i, y0 : y0 + change.shape[1]], wave[i], phase[m, i]
            for j in range(w.size):
                d[j] = scale * (u[j].real * w[j].imag - u[j].imag * w[j].real)
        if m > 0:
            _scatter(field, change, wave, scale, x0, y0, False, False)
            _transform(execute, plans, TO_SPECTRUM)
            _go_back(spectrum, added, propagator, n_rows)


@jit
def _swap(a, b, n):  # type: ignore[no-untyped-def]
    """Exchange the contents of two spectra: plans hold for one array only."""
    for i in range(a.shape[0]):
        for j in range(n):
            a[i, j], b[i, j] = b[i, j], a[i, j]


@jit
def focus_factor(focus, defocus_A, shift_px, factor):  # type: ignore[no-untyped-def]
    """Fill the factor exp(-i focus d q² - 2πi q x) of a focus d and a displacement x, along one axis.

    The frequencies q are in cycles per pixel, in the order of the FFT; ``focus`` is πλ over the square of a
    pixel.
    """
    n = factor.size
    for j in range(n):
        q = (j if 2 * j < n else j - n) / n
        phase = focus * defocus_A * q * q + 2 * np.pi * shift_px * q
        factor[j] = complex(np.cos(phase), -np.sin(phase))


@jit
def gradient_of_tilt(  # type: ignore[no-untyped-def]
    execute, plans, spectrum, added, leaving, back, field, image_field, phase, kept, change,
    propagator, lenses, which, focus, defocus_A, shift_px, images, chosen, likelihood,
    x0, y0, image_x0, image_y0, n_rows, costs,
):  # fmt: skip
    """Replace the phases of the slabs by the derivatives of the misfit to the chosen images, those of a tilt.

    ``costs`` receives ``Σ (√intensity - √image)²`` of each image.
    """
    pass_specimen(execute, plans, spectrum, added, field, phase, kept, change, propagator, x0, y0, n_rows)
    leaving[:], back[:] = spectrum, 0
    scale = np.float32(1 / (spectrum.shape[0] * n_rows))
    factor_x, factor_y = np.empty(spectrum.shape[0], np.complex64), np.empty(n_rows, np.complex64)
    for f in range(chosen.size):
        lens, image = lenses[which[f]], images[chosen[f]]
        focus_factor(focus, defocus_A[f], shift_px[f, 0], factor_x)
        focus_factor(focus, defocus_A[f], shift_px[f, 1], factor_y)
        form_image(execute, plans, leaving, spectrum, lens, factor_x, factor_y, n_rows)
        costs[f] = compare_image(image_field, image, scale, image_x0, image_y0, likelihood)
        collect_image(execute, plans, back, added, lens, factor_x, factor_y, n_rows)
    spectrum[:] = back
    back_through_specimen(
        execute, plans, spectrum, added, field, phase, kept, change, propagator, x0, y0, n_rows, leaving
    )
