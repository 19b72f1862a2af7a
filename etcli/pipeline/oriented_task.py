"""Reconstruction from views of any orientation, for which the whole volume is in memory at once."""

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.projectors.oriented import OrientedProjector
from etcli.core.reconstruction.explained import Unexplained
from etcli.core.reconstruction.line_integrals import LineIntegrals
from etcli.core.reconstruction.slab_by_slab import ErrorCurve, Watch
from etcli.core.reconstruction.streamed_backprojection import BandWriter
from etcli.core.reconstruction.whole_volume import reconstruct_whole
from etcli.core.solvers.methods import MethodParameters, methods_for_any_orientation
from etcli.core.solvers.misfit import Misfit, OrientedMisfit
from etcli.core.solvers.resire import middle
from etcli.core.solvers.steps import on_host
from etcli.core.solvers.total_variation import Zeros
from etcli.io.keyed_folder import KeyedFolder
from etcli.pipeline.memory_budget import MemoryBudget
from etcli.pipeline.session import Session


@dataclass(frozen=True, eq=False)
class OrientedTask:
    """Reconstruction task for views of any orientation, solved on the whole volume.

    Parameters
    ----------
    integrals : LineIntegrals
        The views.
    projector : OrientedProjector
        Projector of the volume, which may extend beyond the field of view.
    shape : (int, int, int)
        Shape of its middle part, which is written.
    scratch : Path
        Folder for arrays that do not fit into the memory.
    """

    integrals: LineIntegrals
    projector: OrientedProjector
    shape: tuple[int, int, int]
    scratch: Path

    def of_views(self, views: NDArray[np.intp]) -> "OrientedTask":
        """Return the same task with some of the views, counted from 0."""
        return replace(self, integrals=self.integrals.select(views), projector=self.projector.of_views(views))

    def check_memory(self, session: Session, parameters: MethodParameters, *, banded: bool = True) -> None:
        """Check before the computation that it fits into the memory; raise UsageError otherwise."""
        if not parameters.traits.any_orientation:
            raise UsageError(
                f"--method {parameters.method} needs views tilted about one axis; with others use "
                f"{', '.join(methods_for_any_orientation())}"
            )
        self._memory_budget(parameters).check(session)

    def sample(self, session: Session) -> Misfit:
        """Return the whole series, as rows of such views cannot be reconstructed separately."""
        views = self.projector.device.put(self.integrals(0, self.integrals.n_rows))
        return OrientedMisfit(self.projector, views)

    def zeros(self, session: Session, parameters: MethodParameters) -> Zeros:
        """Return the function that creates zero-filled arrays for the volume."""
        return self._memory_budget(parameters).zeros(session)

    def run(
        self,
        session: Session,
        parameters: MethodParameters,
        write: BandWriter,
        *,
        watch: Watch | None = None,
        store: KeyedFolder | None = None,
        dask: str | None = None,
    ) -> ErrorCurve:
        """Reconstruct the volume and write its middle part; compare its projections with the views."""

        def watch_middle(k: int, volume: NDArray[np.float32]) -> None:
            if watch:
                watch((0, self.shape[1]), k, middle(volume, self.shape).swapaxes(1, 2))

        with session.reporter.progress(parameters.iterations, "reconstructing") as advance:
            volume, errors = reconstruct_whole(
                self.sample(session),
                parameters,
                zeros=self.zeros(session, parameters),
                progress=advance,
                watch=watch_middle,
            )
        write(0, middle(volume, self.shape))
        projections = on_host(self.projector.forward(self.projector.device.put(volume)))
        views = self.integrals(0, self.integrals.n_rows)
        found = Unexplained.of(projections, views, level_known=self.integrals.level is not None)
        return errors.with_numbers(**found.numbers())

    def _memory_budget(self, parameters: MethodParameters) -> MemoryBudget:
        """Memory budget of the computation."""
        volume, series = prod(self.projector.domain_shape), prod(self.projector.range_shape)
        device = self.projector.device
        if parameters.traits.whole_volume:
            n_volumes = parameters.traits.load("volumes_held")(parameters)
            return MemoryBudget(n_volumes * volume, volume + 4 * series, self.scratch, device)
        return MemoryBudget(0, 5 * volume + 3 * series, self.scratch, device)
