"""Exception classes of etcli. Every message says what is wrong, where, and what to do."""


class EtcliError(Exception):
    """Base class of all errors that are reported to the user in one line."""


class DataError(EtcliError):
    """Invalid input: a damaged file, values that cannot be used, counts that disagree."""


class NonFiniteViewError(DataError):
    """Invalid view: a value is NaN or infinite.

    Parameters
    ----------
    view : int
        Position of the view in the series, from 0; the message counts from 1.
    """

    def __init__(self, view: int) -> None:
        self.view = view
        super().__init__(f"view {view + 1} holds values that are not finite; exclude it or correct the file")


class UsageError(EtcliError):
    """Invalid request: options that contradict each other or the input."""


class ConvergenceError(EtcliError):
    """Unreliable result: the computation finished, but its result must not be trusted."""


class EtcliWarning(UserWarning):
    """Warning about input that was understood, but perhaps not in the way it was meant."""


def without_advice(error: object) -> str:
    """Return a message without its last part, which says what to do: "what is wrong; what to do"."""
    finding, _, advice = str(error).rpartition("; ")
    return finding or advice
