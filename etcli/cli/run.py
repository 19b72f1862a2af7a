"""Program entry: exit status, signals, and errors in one line."""

import errno
import io
import os
import signal
import sys
import warnings
from types import FrameType
from typing import NoReturn

import click

from etcli.cli.console import to_stdout
from etcli.cli.groups import Disconnected
from etcli.cli.main import etcli
from etcli.cli.options import Settings
from etcli.core.errors import EtcliError, UsageError

WRONG_USAGE = 2
TERMINATING_SIGNALS = ("SIGTERM", "SIGHUP", "SIGBREAK")
"""Names of signals that end the program, as far as the system has them: Windows has only the last."""


class Terminated(BaseException):
    """Raised by signals that end the program, so that temporary files are removed before the program ends."""


def main() -> NoReturn:
    """Run the program and exit with its status."""
    settings = Settings(command_line=("etcli", *sys.argv[1:]))
    for name in TERMINATING_SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, _terminate)
    if not sys.warnoptions:
        # warnings of libraries are for developers; the commands themselves print those for the user
        warnings.simplefilter("ignore")
    for library in ("OPENBLAS", "MKL", "BLIS"):  # read when NumPy is imported, which is later
        # etcli has threads of its own; those of BLAS would wait for each other on matrices as small as a view
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    _replace_unprintable()
    try:
        status = etcli.main(prog_name="etcli", obj=settings, standalone_mode=False)
        if sys.stdout is not None:
            with to_stdout():
                sys.stdout.flush()
    except (click.Abort, KeyboardInterrupt):
        _exit_by_signal(signal.SIGINT)
    except Terminated as terminated:
        _exit_by_signal(terminated.args[0])
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        status = WRONG_USAGE
    except (Disconnected, BrokenPipeError):
        _exit_by_signal(getattr(signal, "SIGPIPE", 13))
    except Exception as error:
        if settings.debug:
            raise
        settings.console.error(_in_one_line(error))
        status = WRONG_USAGE if isinstance(error, UsageError | click.UsageError) else settings.fail_status
        _discard_stdout()
    sys.exit(status if isinstance(status, int) else 0)


def _replace_unprintable() -> None:
    """Print ``?`` for letters that the standard output cannot show, as of Å in a Windows code page."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _discard_stdout() -> None:
    """Discard output that cannot be printed, so that the interpreter does not fail on it again at exit."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated(signal.Signals(number))


def _exit_by_signal(number: int) -> NoReturn:
    """End the process by the signal itself, so that a shell loop ends, too; on Windows by its status."""
    if hasattr(signal, "SIGHUP"):  # elsewhere the status would be the number: 2, that of wrong usage
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    raise SystemExit(128 + number)


def _in_one_line(error: Exception) -> str:
    if isinstance(error, EtcliError):
        return str(error)
    if isinstance(error, click.ClickException):
        return error.format_message().rstrip(".")
    if isinstance(error, MemoryError):
        return f"out of memory ({error}); give a smaller --memory or work on --slices".replace(" ()", "")
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return "too many files are open at once; raise the limit (ulimit -n 4096), or work on fewer files"
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror.lower()}"
    return f"{type(error).__name__}: {error} (unexpected; please report it, with what --debug prints)"
