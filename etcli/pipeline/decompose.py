"""Decomposition of spectrum images into maps of elements or components, in memory or from file to file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import DataError, UsageError
from etcli.core.series import TiltSeries
from etcli.core.spectra.components import block_edge, blocks_of, component_curve
from etcli.core.spectra.counts import SpectrumCounts
from etcli.core.spectra.detector import Detector
from etcli.core.spectra.element_columns import columns_of
from etcli.core.spectra.everywhere import EVERYWHERE, levels_off_specimen
from etcli.core.spectra.factorisation import factorise
from etcli.core.spectra.poisson_fit import fit_maps, fit_parts, scale_parts
from etcli.core.spectra.power_law import edge_windows, looks_like_x_rays
from etcli.core.spectra.pure_spectra import element_spectra
from etcli.core.spectra.sum_fit import SumFit, fit_sum
from etcli.core.spectra.windows import clearest_family, window_weights
from etcli.pipeline.decompose_memory import (
    bytes_of_edges,
    bytes_of_factorisation,
    bytes_of_maps,
    check_memory,
)
from etcli.pipeline.decompose_request import DecomposeRequest
from etcli.pipeline.decompose_sum import USUAL_FWHM_keV, beam_of, fit_of_sum
from etcli.pipeline.decomposition import EXPECTED, NET, Decomposition, MapInfo
from etcli.pipeline.session import Session, with_one_blas_thread
from etcli.pipeline.spectrum_inputs import SpectrumSeries, memory_series


def decompose(
    spectra: NDArray[Any] | SpectrumSeries,
    energy_keV: ArrayLike | None = None,
    tilt_deg: ArrayLike | None = None,
    *,
    pixel_A: float | None = None,
    eels: bool = False,
    session: Session | None = None,
    **options: Any,
) -> Decomposition:
    """Make maps of elements or components of a tilt series of spectrum images.

    Parameters
    ----------
    spectra : ndarray of shape (n_views, ny, nx, n_channels), or SpectrumSeries
        Counts as they were recorded, row 0 at the bottom; or what `etcli.read_spectra` returns, which needs
        none of the next four.
    energy_keV : array_like of shape (n_channels,), optional
        Energies of the channels, evenly spaced.
    tilt_deg : array_like of shape (n_views,), optional
        Tilt angles in degrees.
    pixel_A : float, optional
        Pixel size in Å.
    eels : bool
        Whether the spectra are energy losses, not X-rays.
    session : Session, optional
        Threads and reporter; `Session()` by default.
    **options
        Fields of `etcli.pipeline.decompose_request.DecomposeRequest`, such as ``elements=("Ni", "Co")``.

    Returns
    -------
    Decomposition

    Raises
    ------
    DataError
        When values are no counts, or there are none.
    UsageError
        When an option is not valid, an array has no energies or angles, or an element has no lines in the
        range of energies.

    Examples
    --------
    >>> import numpy as np, etcli
    >>> energy_keV = 0.02 + 0.04 * np.arange(256)
    >>> line = 90 * np.exp(-(((energy_keV - 1.74) / 0.05) ** 2)) + 1
    >>> spectra = np.random.default_rng(1).poisson(np.tile(line, (2, 6, 6, 1)))
    >>> found = etcli.decompose(spectra, energy_keV, [0, 10], elements=("Si",))
    >>> found.names, found.maps.shape, bool(found.maps.mean() > 100)
    (('Si',), (1, 2, 6, 6), True)
    """
    session, request = session or Session(), DecomposeRequest(**options)
    if isinstance(spectra, SpectrumSeries):
        if energy_keV is not None or tilt_deg is not None or pixel_A is not None or eels:
            raise UsageError("spectra of files have energies, angles and pixels; give others to read_spectra")
        return decompose_series(session, spectra, request)
    if isinstance(spectra, (str, Path)):
        raise UsageError(f"{spectra}: open files with etcli.read_spectra, and decompose what it returns")
    if energy_keV is None or tilt_deg is None:
        raise UsageError("an array of spectra needs energy_keV, the energies of its channels, and tilt_deg")
    like = TiltSeries.of(
        np.zeros(np.shape(spectra)[:3], np.float32), tilt_deg, pixel_A=pixel_A, name="spectra"
    )
    series = memory_series(np.asarray(spectra), np.asarray(energy_keV, np.float64), like, is_eels=eels)
    return decompose_series(session, series, request)


@with_one_blas_thread
def decompose_series(session: Session, series: SpectrumSeries, request: DecomposeRequest) -> Decomposition:
    """Decompose the spectrum images of a series; see `decompose`."""
    method = request.chosen_method(is_eels=series.is_eels, is_xray=series.is_xray)
    if method == "power-law":
        return _by_edges(session, series, request)
    counts = series.counts(session)
    session.reporter.note(f"{counts.total} counts in {np.prod(counts.shape[:3])} spectra")
    if method in ("nmf", "nmf-scaled"):
        return _by_components(session, series, counts, request, method)
    fit = fit_of_sum(session, series, counts.sum_spectrum(), request, method)
    if method == "windows":
        return _by_windows(session, series, counts, request, fit)
    return _by_fit(session, series, counts, request, fit)


def _by_fit(
    session: Session, series: SpectrumSeries, counts: SpectrumCounts, request: DecomposeRequest, fit: SumFit
) -> Decomposition:
    """Make maps by the fit of known spectra."""
    columns = columns_of(
        fit, {one.symbol: one.family for one in request.named}, beam_kV=beam_of(series, request)
    )
    if not columns:
        raise DataError(f"{series.like.name}: too few counts to find any spectrum in them")
    spectra = np.stack([column.counts for column in columns])
    wanted = [one.symbol for one in request.named] or [column.element for column in columns if column.element]
    places = {column.element: k for k, column in enumerate(columns) if column.element}
    of_sum = dict(
        zip((one.element for one in fit.elements), zip(fit.counts, fit.sd, strict=True), strict=True)
    )
    strongest = max((columns[places[one]].sensitivity for one in wanted if one in places), default=1.0)

    def info(element: str, total: float) -> MapInfo:
        fitted, sd = map(float, of_sum[element])
        if element not in places:
            return MapInfo(element, "", 0.0, None, np.zeros(fit.axis.n), False, sd, fitted)
        column = columns[places[element]]
        sensitivity = column.sensitivity / strongest
        return MapInfo(element, column.family, total, sensitivity, column.counts, True, sd, fitted)

    own = [places.get(element) for element in wanted]
    used = spectra * fit.used
    check_memory(session, bytes_of_maps(counts, len(wanted), len(columns)))
    every = fit_maps(counts, used, threads=session.threads)
    # The sum of all spectra tells how many counts an element has; fits of few counts share them too evenly.
    sums = every.sum(axis=(1, 2, 3), dtype=np.float64)
    factors = np.divide(spectra.sum(axis=1), sums, out=np.ones(len(sums)), where=sums > 0)
    every *= factors.astype(np.float32)[:, np.newaxis, np.newaxis, np.newaxis]
    maps = _chosen(every, own)
    del every
    _tell_of_holder(session, wanted, maps)
    parts = _parts(session, counts, request, used, spectra.sum(axis=1))
    names = [one for one in wanted if one in places]
    return Decomposition(
        series.like,
        "fit",
        tuple(info(element, float(maps[k].sum(dtype=np.float64))) for k, element in enumerate(wanted)),
        maps,
        (_chosen(parts[0], own), _chosen(parts[1], own)),
        request.training,
        _total(session, counts),
        EXPECTED,
        fit.observed,
        fit.axis.energy_keV,
        {column.name: column.counts for column in columns if column.element not in names},
        fit,
    )


def _tell_of_holder(session: Session, names: Sequence[str], maps: NDArray[np.float32]) -> None:
    """Warn of elements that are also where the specimen is not."""
    for name, (level, share) in zip(names, levels_off_specimen(maps), strict=True):
        if share > EVERYWHERE:
            session.reporter.warn(
                f"{name} is also where no other element is: {level:.3g} counts a pixel, {share:.0%} of its "
                "map, as of a holder or grid; fuse takes them for specimen, and may drop HAADF for them"
            )


def _parts(
    session: Session,
    counts: SpectrumCounts,
    request: DecomposeRequest,
    spectra: NDArray[np.float64],
    totals: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fit the two parts of the counts; both together have the totals of the maps."""
    training, test = counts.thinned(request.training, seed=request.seed)
    parts = fit_parts(training, test, spectra, threads=session.threads)
    scale_parts(*parts, totals)
    return parts


def _chosen(maps: NDArray[np.float32], places: Sequence[int | None]) -> NDArray[np.float32]:
    """Return some of the maps, zero where there is none."""
    return np.stack([np.zeros_like(maps[0]) if k is None else maps[k] for k in places])


def _total(session: Session, counts: SpectrumCounts) -> NDArray[np.float32]:
    """Return the counts of each spectrum, (n_views, ny, nx)."""
    return np.asarray(counts.sums(np.ones((counts.shape[3], 1)), threads=session.threads)[0])


def _by_windows(
    session: Session, series: SpectrumSeries, counts: SpectrumCounts, request: DecomposeRequest, fit: SumFit
) -> Decomposition:
    """Make maps of windows around lines, minus those beside them."""
    there = zip(fit.elements, fit.is_there, strict=True)
    named = {one.symbol: one.family for one in request.named} or {
        one.element: "" for one, is_ in there if is_
    }
    chosen = []
    for element, family in named.items():
        own = element_spectra(element, fit.axis, fit.detector, beam_kV=beam_of(series, request))
        chosen.append(clearest_family([one for one in own if family in ("", one.family)]))
    check_memory(session, bytes_of_maps(counts, len(chosen)))
    weights = window_weights([one.main.energy_keV for one in chosen], fit.axis, fit.detector)
    maps = counts.sums(weights, threads=session.threads)
    strength = [float(one.counts @ weights[:, k]) for k, one in enumerate(chosen)]
    info = tuple(
        MapInfo(
            one.element,
            f"{one.family} ({one.main.name})",
            float(maps[k].sum(dtype=np.float64)),
            strength[k] / max(strength),
            fit.observed * np.clip(weights[:, k], 0, 1),
            sd=float(np.sqrt(fit.observed @ weights[:, k] ** 2)),
        )
        for k, one in enumerate(chosen)
    )
    training, test = counts.thinned(request.training, seed=request.seed)
    return Decomposition(
        series.like,
        "windows",
        info,
        maps,
        (training.sums(weights, threads=session.threads), test.sums(weights, threads=session.threads)),
        request.training,
        _total(session, counts),
        NET,
        fit.observed,
        fit.axis.energy_keV,
        fit=fit,
    )


def _by_components(
    session: Session, series: SpectrumSeries, counts: SpectrumCounts, request: DecomposeRequest, method: str
) -> Decomposition:
    """Find spectra by factorisation, and make maps by the fit of them."""
    scaled = method == "nmf-scaled"
    searched = request.components in ("auto", None)
    need = bytes_of_factorisation(counts, searched=searched)
    check_memory(session, need, "the factorisation and the counts")
    curve = component_curve(counts, seed=request.seed, scaled=scaled) if searched else None
    n = curve.best if curve is not None else int(request.components or 1)
    weights, spectra = factorise(blocks_of(counts, block_edge(counts)), n, scaled=scaled)
    summed = counts.sum_spectrum()
    found = weights.sum(axis=0)[:, np.newaxis] * spectra
    found = found[found.sum(axis=1) > 0] * (summed.sum() / found.sum())
    if curve is not None:
        session.reporter.report(f"{n} components predict held-out counts best")
    check_memory(session, bytes_of_maps(counts, len(found), len(found)))
    maps = fit_maps(counts, found, threads=session.threads)
    lines = _elements_in(series, request, summed, found)
    info = tuple(
        MapInfo(f"C{k + 1}", lines[k], float(maps[k].sum(dtype=np.float64)), None, spectrum)
        for k, spectrum in enumerate(found)
    )
    return Decomposition(
        series.like,
        method,
        info,
        maps,
        _parts(session, counts, request, found, maps.sum(axis=(1, 2, 3), dtype=np.float64)),
        request.training,
        _total(session, counts),
        EXPECTED,
        summed,
        series.energy.energy_keV,
        curve=curve,
    )


def _elements_in(
    series: SpectrumSeries,
    request: DecomposeRequest,
    summed: NDArray[np.float64],
    spectra: NDArray[np.float64],
) -> list[str]:
    """Name the elements in the X-ray spectra of components; those of the sum are looked for."""
    if series.is_eels:
        return [""] * len(spectra)
    detector = Detector(series.files[0].fwhm_keV or USUAL_FWHM_keV)
    beam_kV = beam_of(series, request)
    whole = fit_sum(summed, series.energy, (), detector=detector, beam_kV=beam_kV)
    known = [one.element for one in whole.elements]
    names = []
    for spectrum in spectra:
        fit = fit_sum(
            spectrum, whole.axis, (), strays=known, detector=whole.detector, beam_kV=beam_kV, calibrate=False
        )
        share = fit.counts / max(fit.counts.sum(), 1.0)
        order = np.argsort(-share, kind="stable")
        names.append("+".join(fit.elements[k].element for k in order if share[k] > 0.1))
    return names


def _by_edges(session: Session, series: SpectrumSeries, request: DecomposeRequest) -> Decomposition:
    """Make maps of the edges in energy-loss spectra."""
    axis = series.energy
    edges = [edge_windows(one.symbol, axis, family=one.family) for one in request.named]
    onsets = [edge.edge_keV for edge in edges]
    edges = [edge_windows(one.symbol, axis, family=one.family, others_keV=onsets) for one in request.named]
    check_memory(session, bytes_of_edges(series.shape, len(edges)), "the maps")
    weights = np.concatenate([edge.weights(axis) for edge in edges] + [np.ones((axis.n, 1))], axis=1)
    sums, summed = series.sums(session, weights)
    if not series.is_eels and looks_like_x_rays(axis, [edge.exponent_of(summed, axis) for edge in edges]):
        session.reporter.warn(
            f"{series.like.name}: these look like X-rays, but power-law is for energy losses; take fit"
        )
    maps = np.stack([edge.signal(sums[3 * k : 3 * k + 3])[0] for k, edge in enumerate(edges)])
    info = tuple(
        MapInfo(
            edge.element,
            edge.shell,
            float(maps[k].sum(dtype=np.float64)),
            None,
            edge.weights(axis)[:, 2] * summed,
        )
        for k, edge in enumerate(edges)
    )
    return Decomposition(
        series.like,
        "power-law",
        info,
        maps,
        None,
        request.training,
        sums[-1],
        NET,
        summed,
        axis.energy_keV,
    )
