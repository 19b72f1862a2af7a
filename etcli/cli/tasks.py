"""Views and the volume they are to become: slab by slab, or the whole volume at once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from etcli.cli.cluster import workers
from etcli.cli.console import Console
from etcli.cli.devices import oriented_projector, slab_projector, use_gpu
from etcli.cli.inputs import open_input
from etcli.cli.options import Settings
from etcli.cli.room import WholeArrays
from etcli.core.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from etcli.core.bands import WriteBand
    from etcli.core.geometry import SlabGeometry
    from etcli.core.plans import MakeProjector, Method
    from etcli.core.projectors import Device
    from etcli.core.projectors.oriented import OrientedProjector
    from etcli.core.recipes import Recipe
    from etcli.core.slabs import ErrorCurve, Read, Store, Watch
    from etcli.core.solvers.regularised import Misfit
    from etcli.core.solvers.total_variation import Zeros
    from etcli.io.line_integrals import LineIntegrals
    from etcli.io.stack import Stack

NARROW = 16
"""Slices of a slab that every device can have."""


class Task(Protocol):
    """Views and the volume they are to become."""

    def of_views(self, views: "NDArray[np.intp]") -> "Task":
        """Return the same with some of the views, counted from 0."""

    def check_room(self, settings: Settings, recipe: "Recipe", *, banded: bool = True) -> None:
        """Refuse work that does not fit into the memory, before any is done."""

    def sample(self, settings: Settings) -> "Misfit":
        """Return what is reconstructed when parameters are looked for."""

    def zeros(self, settings: Settings, recipe: "Recipe") -> "Zeros":
        """Return what makes arrays of the size of the sample."""

    def run(
        self,
        settings: Settings,
        recipe: "Recipe",
        write: "WriteBand",
        *,
        watch: "Watch | None" = None,
        store: "Store | None" = None,
        dask: str | None = None,
    ) -> "ErrorCurve":
        """Reconstruct."""


@dataclass(frozen=True, eq=False)
class TiltedTask:
    """Views tilted about the vertical axis, reconstructed slab by slab where the method allows it.

    Parameters
    ----------
    integrals : LineIntegrals
        The views.
    geometry : SlabGeometry
        The slices.
    make_projector : callable
        As for `etcli.core.slabs.reconstruct`.
    volumes : mapping of str to callable
        Mask and initial volume, as for `etcli.core.slabs.reconstruct`.
    scratch : Path
        Folder for arrays that are larger than the memory.
    """

    integrals: "LineIntegrals"
    geometry: "SlabGeometry"
    make_projector: "MakeProjector"
    volumes: Mapping[str, "Read"]
    scratch: Path

    @property
    def device(self) -> "Device":
        """Where the work is done."""
        return self.make_projector(self.geometry, n_slices=NARROW).device

    def of_views(self, views: "NDArray[np.intp]") -> "TiltedTask":
        """Return the same with some of the views, counted from 0."""
        return replace(self, integrals=self.integrals.select(views), geometry=self.geometry.of_views(views))

    def check_room(self, settings: Settings, recipe: "Recipe", *, banded: bool = True) -> None:
        """Refuse work that does not fit into the memory; ``banded``: where fbp may go by bands."""
        from etcli.core.bands import plan_backprojection
        from etcli.core.plans import plan_reconstruction

        n_rows, geometry = self.integrals.n_rows, self.geometry
        if recipe.whole:
            self._arrays(settings, recipe).check(settings)
            return
        if self._by_bands(recipe) and banded:
            plan_backprojection(n_rows, geometry, threads=settings.threads, memory=settings.memory)
            return
        method = self._method(recipe)
        plan = plan_reconstruction(
            n_rows, geometry, method, threads=settings.threads, memory=settings.memory, device=self.device
        )
        settings.console.note(
            f"{len(plan.slabs)} slabs of {plan.slabs[0][1]} slices on {plan.threads} threads, "
            f"{plan.working_bytes >> 20} MiB of the {self.device.name}"
        )

    def sample(self, settings: Settings) -> "Misfit":
        """Return the brightest rows."""
        from etcli.core.solvers.left_out import brightest_rows

        rows = brightest_rows(self.integrals.sample())
        return self._series(settings, rows.start, rows.stop)

    def zeros(self, settings: Settings, recipe: "Recipe") -> "Zeros":
        """Return what makes arrays of a few rows."""
        return self.device.zeros

    def run(
        self,
        settings: Settings,
        recipe: "Recipe",
        write: "WriteBand",
        *,
        watch: "Watch | None" = None,
        store: "Store | None" = None,
        dask: str | None = None,
    ) -> "ErrorCurve":
        """Reconstruct."""
        if recipe.whole:
            return self._run_whole(settings, recipe, write, watch)
        if self._by_bands(recipe) and store is None and dask is None:
            return self._run_bands(settings, recipe, write)
        from etcli.core.slabs import reconstruct

        n_rows, method = self.integrals.n_rows, self._method(recipe)
        with (
            workers(settings, dask, self.device) as found,
            settings.console.progress(n_rows, "reconstructing") as advance,
        ):
            return reconstruct(
                self.integrals,
                write,
                self.geometry,
                method,
                plan=found.plan(n_rows, self.geometry, method),
                make_projector=self.make_projector,
                progress=advance,
                watch=watch,
                store=store,
                volumes=self.volumes,
                pool=found.pool,
            )

    def _by_bands(self, recipe: "Recipe") -> bool:
        """Whether no slab of the volume need be held; a GPU gathers whole slabs at once."""
        return recipe.method == "fbp" and self.device.free_bytes() is None

    def _run_bands(self, settings: Settings, recipe: "Recipe", write: "WriteBand") -> "ErrorCurve":
        """Back-project a few sections at a time, for which no slab of the volume need be held."""
        from etcli.core.bands import backproject, plan_backprojection

        n_rows = self.integrals.n_rows
        plan = plan_backprojection(n_rows, self.geometry, threads=settings.threads, memory=settings.memory)
        with settings.console.progress(n_rows, "reconstructing") as advance:
            return backproject(
                self.integrals, write, self.geometry, plan=plan, window=recipe.window, progress=advance
            )

    def _run_whole(
        self, settings: Settings, recipe: "Recipe", write: "WriteBand", watch: "Watch | None"
    ) -> "ErrorCurve":
        """Reconstruct the volume at once, then write it."""
        from etcli.core.projectors.slab import WIDTHS
        from etcli.core.whole import reconstruct_whole

        n_rows = self.integrals.n_rows

        def look(k: int, volume: "NDArray[np.float32]") -> None:
            if watch:
                watch((0, n_rows), k, volume)

        with settings.console.progress(recipe.iterations, "reconstructing") as advance:
            volume, errors = reconstruct_whole(
                self._series(settings, 0, n_rows),
                recipe,
                zeros=self._arrays(settings, recipe).zeros(settings),
                progress=advance,
                watch=look,
            )
        for y0 in range(0, n_rows, WIDTHS[-1]):
            write(y0, volume[..., y0 : y0 + WIDTHS[-1]].swapaxes(1, 2))
        return errors

    def _arrays(self, settings: Settings, recipe: "Recipe") -> WholeArrays:
        """Return the arrays that work on the whole volume takes; a slab on every thread is among them."""
        from etcli.core.projectors.slab import WIDTHS
        from etcli.core.solvers.priors import HELD

        geometry, n_rows = self.geometry, self.integrals.n_rows
        n_voxels = geometry.thickness * geometry.width
        slabs = 2 * min(n_rows, max(settings.threads * WIDTHS[-1], *self.device.widths))
        series = geometry.n_views * geometry.n_detector * n_rows
        volumes = HELD[recipe.prior] * n_voxels * n_rows
        if self.device.free_bytes() is not None:
            volumes += n_voxels * n_rows  # what threads share out by parts here is one array there
        return WholeArrays(volumes, slabs * n_voxels + 3 * series, self.scratch, self.device)

    def _method(self, recipe: "Recipe") -> "Method":
        """Return the solver of slabs, with room for the volumes that it is given."""
        method = recipe.for_slabs(self.geometry, masked="mask" in self.volumes)
        return replace(method, volumes=method.volumes + len(self.volumes))

    def _series(self, settings: Settings, y0: int, y1: int) -> "Misfit":
        """Return some rows, laid out for the projectors."""
        from etcli.core.solvers.regularised import as_series

        views = self.integrals(y0, y1)
        return as_series(views, self.geometry, make_projector=self.make_projector, threads=settings.threads)


@dataclass(frozen=True, eq=False)
class OrientedTask:
    """Views of any orientation.

    Parameters
    ----------
    integrals : LineIntegrals
        The views.
    projector : OrientedProjector
        Of a volume that may reach beyond the field of view.
    shape : (int, int, int)
        Voxels of its middle that are written.
    scratch : Path
        Folder for arrays that are larger than the memory.
    """

    integrals: "LineIntegrals"
    projector: "OrientedProjector"
    shape: tuple[int, int, int]
    scratch: Path

    def of_views(self, views: "NDArray[np.intp]") -> "OrientedTask":
        """Return the same with some of the views, counted from 0."""
        return replace(self, integrals=self.integrals.select(views), projector=self.projector.of_views(views))

    def check_room(self, settings: Settings, recipe: "Recipe", *, banded: bool = True) -> None:
        """Refuse work that does not fit into the memory, before any is done."""
        from etcli.core.recipes import ORIENTED

        if recipe.method not in ORIENTED:
            raise UsageError(
                f"--method {recipe.method} needs views tilted about one axis; with others use "
                f"{', '.join(ORIENTED)}"
            )
        self._arrays(recipe).check(settings)

    def sample(self, settings: Settings) -> "Misfit":
        """Return the whole series: its rows do not know one another's places."""
        from etcli.core.solvers.regularised import WholeSeries

        views = self.projector.device.put(self.integrals(0, self.integrals.n_rows))
        return WholeSeries(self.projector, views)

    def zeros(self, settings: Settings, recipe: "Recipe") -> "Zeros":
        """Return what makes arrays of the size of the volume."""
        return self._arrays(recipe).zeros(settings)

    def run(
        self,
        settings: Settings,
        recipe: "Recipe",
        write: "WriteBand",
        *,
        watch: "Watch | None" = None,
        store: "Store | None" = None,
        dask: str | None = None,
    ) -> "ErrorCurve":
        """Reconstruct."""
        from etcli.core.solvers.resire import middle
        from etcli.core.whole import reconstruct_whole

        def look(k: int, volume: "NDArray[np.float32]") -> None:
            if watch:
                watch((0, self.shape[1]), k, middle(volume, self.shape).swapaxes(1, 2))

        with settings.console.progress(recipe.iterations, "reconstructing") as advance:
            volume, errors = reconstruct_whole(
                self.sample(settings),
                recipe,
                zeros=self.zeros(settings, recipe),
                progress=advance,
                watch=look,
            )
        write(0, middle(volume, self.shape))
        return errors

    def _arrays(self, recipe: "Recipe") -> WholeArrays:
        """Return the arrays that the work takes."""
        from etcli.core.solvers.priors import HELD

        volume, series = prod(self.projector.domain_shape), prod(self.projector.range_shape)
        device = self.projector.device
        if recipe.method == "fista":
            return WholeArrays(HELD[recipe.prior] * volume, volume + 4 * series, self.scratch, device)
        return WholeArrays(0, 5 * volume + 3 * series, self.scratch, device)


def make_task(settings: Settings, recipe: "Recipe", *views: Any, dask: bool, **how: Any) -> Task:
    """Return what is to be reconstructed; the arguments go on to `_task`.

    ``--device auto`` takes the CPU where the recipe finds too little room on the GPU.
    """
    gpu = use_gpu(settings, elsewhere=dask)
    task = _task(settings, *views, gpu=gpu, **how)
    if not gpu or settings.device == "gpu":
        return task
    try:
        task.check_room(replace(settings, console=Console(verbosity=-1)), recipe)
    except UsageError:
        settings.console.note("too little memory is free on the GPU; computing on the CPU")
        return _task(settings, *views, gpu=False, **how)
    return task


def _task(
    settings: Settings,
    integrals: "LineIntegrals",
    geometry: "SlabGeometry",
    *,
    gpu: bool,
    kernel: str,
    backend: str,
    rotation: "NDArray[Any] | None",
    extend: bool,
    volumes: Mapping[str, str | None],
    scratch: Path,
) -> Task:
    """Return what is to be reconstructed; ``volumes`` are files of mask and initial volume."""
    shape = geometry.thickness, integrals.n_rows, geometry.width
    readers = {
        name: _volume_rows(settings, file, shape, name) for name, file in volumes.items() if file is not None
    }
    if rotation is None:
        if extend:
            raise click.UsageError("--extend is for views of any orientation; give --euler as well")
        weighted = geometry.view_weight is not None
        make = slab_projector(settings, gpu=gpu, kernel=kernel, backend=backend, weighted=weighted)
        return TiltedTask(integrals, geometry, make, readers, scratch)
    from etcli.core.solvers.resire import extended_shape

    if integrals.n_rows != integrals.stack.shape[1]:
        raise click.UsageError("--slices are of views tilted about one axis; leave it out with --euler")
    if backend != "slab":
        raise click.UsageError(f"--backend {backend} is for views tilted about one axis; leave it out")
    if kernel != "linear":
        raise click.UsageError(f"--kernel {kernel} is for views tilted about one axis; leave it out")
    if geometry.view_weight is not None:
        raise click.UsageError("--view-weights is for views tilted about one axis; leave it out")
    if readers:
        raise click.UsageError(f"--{next(iter(readers))} is for views tilted about one axis; leave it out")
    detector = integrals.n_rows, geometry.n_detector
    projector = oriented_projector(gpu)(
        rotation,
        extended_shape(rotation, shape, detector) if extend else shape,
        detector,
        centre_px=(geometry.axis_offset_px, 0.0) + geometry.z_offset_px * rotation[:, :2, 2],
        threads=settings.threads,
    )
    return OrientedTask(integrals, projector, shape, scratch)


def _volume_rows(settings: Settings, file: str, shape: tuple[int, ...], name: str) -> "Read":
    """Return what reads rows of a volume of the same shape as the output."""
    volume = open_input(settings, file)
    if volume.shape != shape:
        sizes = [" x ".join(map(str, size[::-1])) for size in (volume.shape, shape)]
        raise DataError(
            f"{file}: {sizes[0]} voxels (x, y, z), but the volume has {sizes[1]}; make the {name} of its size"
        )
    return partial(_rows_of, volume)


def _rows_of(volume: "Stack", y0: int, y1: int) -> "NDArray[np.float32]":
    """Return rows of all sections."""
    import numpy as np

    return volume.rows(np.arange(y0, y1))
