"""Progress of a reconstruction by multislice: its curves, and the state from which it can be resumed."""

from dataclasses import dataclass, field

from etcli.core.multislice.refinement import ViewRefinement
from etcli.core.solvers.fista import FistaState
from etcli.core.solvers.multislice import LeftOutTilts
from etcli.core.solvers.steps import on_host
from etcli.io.keyed_folder import KeyedFolder

STATE = "state"


@dataclass(eq=False)
class SolverProgress:
    """Curves of a reconstruction, and its state when it was interrupted.

    Parameters
    ----------
    left_out : LeftOutTilts
        Test by tilts that are left out at first; its result belongs to the state.
    refinement : ViewRefinement or None
        Refinement of the images, if any; what it has found belongs to the state.
    norms, weights : list of float
        Residual and weight of the prior in every iteration.
    state : FistaState or None
        State to go on from.
    """

    left_out: LeftOutTilts
    refinement: ViewRefinement | None = None
    norms: list[float] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    state: FistaState | None = None

    def resume(self, store: KeyedFolder) -> None:
        """Take over what a folder keeps, if anything.

        Raises
        ------
        DataError
            When the file of the state is damaged.
        """
        if not store.holds(STATE):
            return
        kept = store.load(STATE)
        try:
            pace, restart = kept["momentum"].tolist()
            self.state = FistaState(
                int(kept["sweep"]), kept["volume"], kept["ahead"], (pace, restart), kept.get("dual")
            )
            self.norms, self.weights = kept["norms"].tolist(), kept["weights"].tolist()
            self.left_out.residual, self.left_out.contrast = kept["left_out"].tolist()
            if self.refinement is not None:
                self.refinement.state = kept["refinement"]
        except (KeyError, ValueError) as error:
            raise store.damaged(STATE) from error

    def keep(self, store: KeyedFolder, state: FistaState) -> None:
        """Store a state, and the curves and corrections so far."""
        arrays = {
            "sweep": state.sweep,
            "volume": on_host(state.volume),
            "ahead": on_host(state.ahead),
            "momentum": state.momentum,
            "norms": self.norms,
            "weights": self.weights,
            "left_out": [self.left_out.residual, self.left_out.contrast],
        }
        if state.dual is not None:
            arrays["dual"] = on_host(state.dual)
        if self.refinement is not None:
            arrays["refinement"] = self.refinement.state
        store.keep(STATE, arrays)
