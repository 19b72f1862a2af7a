"""The errors a caller can tell apart. Every message names what is wrong, where, and what to do."""


class EtcliError(Exception):
    """Root of all errors that are reported to the user in one line."""


class DataError(EtcliError):
    """The input is wrong: a damaged file, values that cannot be used, counts that disagree."""


class UsageError(EtcliError):
    """The request is wrong: options that contradict each other or the input."""


class ConvergenceError(EtcliError):
    """The work was done but its result must not be trusted."""


class EtcliWarning(UserWarning):
    """Something was understood but may not be what was meant."""
