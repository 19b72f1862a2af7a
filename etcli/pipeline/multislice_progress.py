"""Progress of a reconstruction by multislice: its curves, and the state from which it can be resumed."""

from dataclasses import dataclass, field

from etcli.core.solvers.fista import FistaState
from etcli.io.keyed_folder import KeyedFolder

STATE = "state"


@dataclass(eq=False)
class SolverProgress:
    """Curves of a reconstruction, and its state when it was interrupted.

    Parameters
    ----------
    norms, weights : list of float
        Residual and weight of the prior in every sweep.
    state : FistaState or None
        State to go on from.
    """

    norms: list[float] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    state: FistaState | None = None

    @classmethod
    def resumed(cls, store: KeyedFolder | None) -> "SolverProgress":
        """Return the progress that is kept in a folder, or that of a new reconstruction.

        Raises
        ------
        DataError
            When the file of the state is damaged.
        """
        if store is None or not store.holds(STATE):
            return cls()
        kept = store.load(STATE)
        try:
            pace, restart = kept["momentum"].tolist()
            state = FistaState(
                int(kept["sweep"]), kept["volume"], kept["ahead"], (pace, restart), kept.get("dual")
            )
            return cls(kept["norms"].tolist(), kept["weights"].tolist(), state)
        except (KeyError, ValueError) as error:
            raise store.damaged(STATE) from error

    def keep(self, store: KeyedFolder, state: FistaState) -> None:
        """Store a state and the curves so far."""
        arrays = {
            "sweep": state.sweep,
            "volume": state.volume,
            "ahead": state.ahead,
            "momentum": state.momentum,
            "norms": self.norms,
            "weights": self.weights,
        }
        store.keep(STATE, arrays if state.dual is None else arrays | {"dual": state.dual})
