"""Joint reconstruction of elements from maps of counts, in memory or from file to file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.fusion.automatic import Choice
from etcli.core.lengths import Length
from etcli.core.series import TiltSeries, Volume
from etcli.io.writers import expect_images
from etcli.pipeline.fuse_inputs import FusionInputs, read_inputs
from etcli.pipeline.fuse_report import report_k_factors
from etcli.pipeline.fusion_task import AUTO, Fusion, FusionRequest, run_fusion
from etcli.pipeline.k_factors import read_k_factors
from etcli.pipeline.map_names import map_file
from etcli.pipeline.picture_output import announce_picture, check_picture
from etcli.pipeline.session import Session
from etcli.pipeline.volume_output import VolumeFiles, VolumesInMemory

Array = NDArray[np.float32]

FRACTION, REST = "fraction", "rest"
"""Endings of the files of atomic fractions, and of what only HAADF shows."""


@dataclass(frozen=True)
class FusionFiles:
    """Files of a joint reconstruction, named as the options of ``etcli fuse``."""

    inputs: tuple[str, ...]
    output: str
    haadf: str | None = None
    elements: tuple[str, ...] = ()
    fractions: bool = False
    k_factors: str | None = None
    plot: str | None = None
    mode: int = 2


@dataclass(frozen=True, eq=False)
class FusedElements:
    """Volumes of elements that were reconstructed together.

    Parameters
    ----------
    volumes : dict of str to Volume
        Counts a voxel, by element.
    fractions : dict of str to Volume
        Atomic fractions, 0 where there is too little of everything.
    rest : Volume or None
        HAADF signal a voxel of what has no map, if there is such a thing.
    choice : Choice
        What was found from the counts: priors and their weights, gains of views, HAADF signal of elements.
    numbers : dict
        The same as plain values, as ``--json`` prints them.
    """

    volumes: dict[str, Volume]
    fractions: dict[str, Volume]
    rest: Volume | None
    choice: Choice
    numbers: dict[str, Any] = field(repr=False)


def fuse(
    maps: Mapping[str, TiltSeries],
    *,
    haadf: TiltSeries | None = None,
    parts: Mapping[str, tuple[TiltSeries, TiltSeries]] | None = None,
    prior: str = AUTO,
    thickness: Length | float | str | None = None,
    width: Length | float | str | None = None,
    k_factors: Mapping[str, float] | None = None,
    session: Session | None = None,
) -> FusedElements:
    """Reconstruct the volumes of several elements together from their maps of counts.

    Parameters
    ----------
    maps : mapping of str to TiltSeries
        Aligned maps of counts by element, all of the same views.
    haadf : TiltSeries, optional
        The HAADF series of the same area, aligned with the maps, with tilt angles of its own.
    parts : mapping of str to (TiltSeries, TiltSeries), optional
        The same counts in two independent parts, where the maps are fits of spectra; by default whole counts
        are divided here.
    prior : {"auto", "tv", "tnv"}
        Prior of the elements with 5 % of all counts or more: total variation of each, or total nuclear
        variation of all together; ``auto`` takes what predicts held-out counts better.
    thickness, width : length, optional
        Extent along z and x in Å, or with a unit as in ``"80px"``; the width of a view by default. The
        thickness may be ``"auto"``.
    k_factors : mapping of str to float, optional
        Atoms per count of each element, for the fractions; by default one over the sensitivities in the
        mdocs of the maps, else 1.
    session : Session, optional
        Threads, memory and reporter; `Session()` by default.

    Returns
    -------
    FusedElements

    Raises
    ------
    DataError
        When maps differ in views or pixels, values are no counts, or HAADF does not belong to the maps.
    UsageError
        When the request contradicts itself, or the memory is too small.

    Examples
    --------
    >>> import numpy as np, etcli
    >>> disc = np.hypot(*(np.mgrid[:24, :24] - 11.5)) < 6
    >>> view = np.repeat(disc.sum(0)[np.newaxis], 16, axis=0)
    >>> counts = np.random.default_rng(0).poisson(view, (20, 16, 24)).astype(np.float32)
    >>> series = etcli.TiltSeries.of(counts, np.arange(-90, 90, 9), pixel_A=10)
    >>> result = etcli.fuse({"Ni": series}, prior="tv")
    >>> round(float(result.volumes["Ni"].images()[10:14, 8, 10:14].mean()), 1)
    1.0
    """
    session = session or Session()
    request = FusionRequest(
        prior,
        thickness if thickness in (None, AUTO) else Length.parse(thickness, "A"),
        None if width is None else Length.parse(width, "A"),
    )
    inputs = FusionInputs(dict(maps), dict(parts or {}), haadf)
    fusion = run_fusion(session, inputs, request, k_factors=k_factors)
    destination = {}
    fractions = {}
    for name, counts, fraction in zip(
        fusion.maps.names, fusion.fused.counts, fusion.fractions(), strict=True
    ):
        destination[name] = _in_memory(fusion, name, "counts a voxel", counts)
        fractions[name] = _in_memory(fusion, name, "atomic fraction", fraction)
    rest = fusion.fused.rest
    return FusedElements(
        destination,
        fractions,
        None if rest is None else _in_memory(fusion, REST, "HAADF signal a voxel of what has no map", rest),
        fusion.fused.choice,
        fusion.numbers,
    )


def fuse_files(files: FusionFiles, request: FusionRequest, session: Session) -> dict[str, Any]:
    """Reconstruct elements from file to file: all outputs appear, or none.

    Parameters
    ----------
    files : FusionFiles
    request : FusionRequest
    session : Session

    Returns
    -------
    dict
        The numbers of the run, for ``--json``.

    Raises
    ------
    DataError, UsageError
        As for `fuse`; no output is written then.
    """
    check_picture(files.plot)
    given = read_k_factors(session, files.k_factors) if files.k_factors else None
    inputs = read_inputs(session, files.inputs, elements=files.elements, haadf=files.haadf)
    outputs = session.outputs()
    for name in inputs.maps:
        expect_images(outputs, map_file(files.output, name))
        if files.fractions:
            expect_images(outputs, map_file(files.output, f"{name}_{FRACTION}"))
    if files.haadf:
        expect_images(outputs, map_file(files.output, REST))
    with outputs:
        write_picture = announce_picture(outputs, files.plot) if files.plot else None
        fusion = run_fusion(session, inputs, request, k_factors=given)

        def write(name: str, ending: str, what: str, data: Array) -> None:
            target = map_file(files.output, ending)
            destination = VolumeFiles(session, outputs, target, fusion.layout(name, what), files.mode)
            with destination.open("", fusion.step(name, what), fusion.geometry.n_views) as rows:
                rows(0, data)

        for name, counts in zip(fusion.maps.names, fusion.fused.counts, strict=True):
            write(name, name, "counts a voxel", counts)
        if fusion.fused.rest is not None:
            write(REST, REST, "HAADF signal a voxel of what has no map", fusion.fused.rest)
        fractions = fusion.fractions() if files.fractions or write_picture else None
        if fractions is not None and files.fractions:
            for name, fraction in zip(fusion.maps.names, fractions, strict=True):
                write(name, f"{name}_{FRACTION}", "atomic fraction", fraction)
        if write_picture and fractions is not None:
            from etcli.plotting.elements import elements_figure

            pixel_A = inputs.first.pixel_A
            names, curves = fusion.maps.names, fusion.fused.choice.curves
            write_picture(elements_figure(names, fusion.fused.counts, fractions, curves, pixel_A=pixel_A))
    if files.fractions:
        report_k_factors(session, fusion.k_source)
    return fusion.numbers


def _in_memory(fusion: Fusion, name: str, what: str, data: Array) -> Volume:
    """Return a volume with its frame and history."""
    destination = VolumesInMemory(fusion.layout(name, what))
    with destination.open("", fusion.step(name, what), fusion.geometry.n_views) as rows:
        rows(0, data)
    return destination.volumes[""]
