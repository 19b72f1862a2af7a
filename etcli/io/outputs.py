"""Output files that appear complete and together, or not at all."""

import errno
import os
import signal
import stat
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from etcli.core.errors import DataError, UsageError
from etcli.io.history import Run
from etcli.io.provenance import is_raw_data

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

TERMINATING_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)


class Outputs:
    """Output files of one command, as a context manager.

    Each file is written under a hidden temporary name in the folder of its target. When the block ends
    normally, all of them are renamed, the first one last, so that a reader who sees it finds the others.
    When it ends in an exception (also that of a signal), they are deleted and the targets stay unchanged.

    Parameters
    ----------
    clobber : bool
        Whether existing files may be replaced.
    overwrite : bool
        Whether even images that etcli did not write may be replaced.
    inputs : sequence of path
        Files that the command reads, which no output may replace; more may be added to a list later.
    run : Run, optional
        The run of the program, for the history of the files.
    """

    def __init__(
        self,
        *,
        clobber: bool = True,
        overwrite: bool = False,
        inputs: Sequence[str | Path] = (),
        run: Run | None = None,
    ) -> None:
        self._clobber, self._overwrite = clobber, overwrite
        self._inputs = inputs
        self.run = run or Run()
        self._parts: dict[Path, Path] = {}
        self._created_folders: list[Path] = []

    def __enter__(self) -> "Outputs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._commit()
            elif isinstance(error, OSError) and error.errno in DISK_FULL and self._parts:
                first = next(iter(self._parts))
                raise DataError(f"{first}: {os.strerror(error.errno).lower()}; write elsewhere") from error
        finally:
            for part in self._parts.values():
                with suppress(PermissionError):  # on Windows, where an error still holds it open
                    part.unlink(missing_ok=True)
            for folder in self._created_folders:
                with suppress(OSError):  # has files, as it should
                    folder.rmdir()

    def expect(self, target: str | Path) -> None:
        """Check, before any computation, that images and their mdoc can be written.

        Raises
        ------
        UsageError, DataError
            As `path` does.
        """
        self._check_target(target, images=True)
        self._check_target(f"{target}.mdoc", images=True)

    def image(self, target: str | Path) -> Path:
        """Return the temporary name for images or their mdoc; an existing file must be etcli's own."""
        return self._create_part(target, images=True)

    def path(self, target: str | Path) -> Path:
        """Return the temporary name under which to write ``target``.

        Parameters
        ----------
        target : path
            Final path of the file; links are followed.

        Returns
        -------
        Path
            An empty file beside the target.

        Raises
        ------
        UsageError
            When the target is a folder, a stream or an input, exists and must not be replaced, or is named
            twice.
        DataError
            When its folder is missing or cannot be written.
        """
        return self._create_part(target, images=False)

    def _create_part(self, target: str | Path, *, images: bool) -> Path:
        """Create the temporary file of a target."""
        final = self._check_target(target, images=images)
        try:
            handle, name = tempfile.mkstemp(prefix=f".{final.name[:50]}.", suffix=".part", dir=final.parent)
        except OSError as error:
            raise DataError(f"{target}: cannot write there ({error.strerror}); write elsewhere") from error
        os.close(handle)
        self._parts[final] = Path(name)
        return self._parts[final]

    def _check_target(self, target: str | Path, *, images: bool) -> Path:
        """Return the final path of a target; raise an error if it must not or cannot be written."""
        if str(target) == "-":
            raise UsageError("cannot write this to a stream; name a file")
        final = Path(os.path.realpath(target))
        if final in self._parts:
            raise UsageError(f"{target}: named as output twice; give every output its own name")
        if any(_same_file(final, name) for name in self._inputs):
            raise UsageError(f"{target}: is an input; give this output a name of its own")
        if final.exists() and not stat.S_ISREG(final.stat().st_mode):
            what = "a folder" if final.is_dir() else "not a regular file"
            raise UsageError(f"{target}: is {what}; name a file to write")
        if final.exists() and not self._clobber:
            raise UsageError(f"{target}: exists; leave out --no-clobber to replace it")
        if final.exists() and not self._overwrite and is_raw_data(final, expects_images=images):
            raise UsageError(
                f"{target}: exists and was not written by etcli; give OUTPUT another name, or --overwrite to "
                "replace it"
            )
        if not final.parent.is_dir():
            raise DataError(f"{target}: no folder {Path(target).parent}; make it first")
        return final

    def folder(self, target: str | Path) -> Path:
        """Return a folder for outputs, created if missing, and removed again if nothing is written into it.

        Raises
        ------
        UsageError
            When something else has its name.
        DataError
            When it cannot be made.
        """
        final = Path(os.path.realpath(target))
        if final.is_dir():
            return final
        if final.exists():
            raise UsageError(f"{target}: is not a folder; name one to write into")
        try:
            final.mkdir()
        except OSError as error:
            why = (error.strerror or "").lower()
            raise DataError(f"{target}: cannot make this folder ({why}); make it first") from error
        self._created_folders.append(final)
        return final

    def part_of(self, target: str | Path) -> Path:
        """Return the temporary name of a target that was passed to `path` or `image` before."""
        return self._parts[Path(os.path.realpath(target))]

    def _commit(self) -> None:
        mask = os.umask(0)
        os.umask(mask)
        for final, part in self._parts.items():
            mode = stat.S_IMODE(final.stat().st_mode) if final.exists() else 0o666 & ~mask
            with part.open("r+b") as file:  # Windows flushes only what is open for writing
                os.fsync(file.fileno())
            part.chmod(mode)
        # a signal between the renames would leave a new output beside the companion files of an old one
        with _signals_held():
            for final, part in reversed(self._parts.items()):
                try:
                    part.replace(final)
                except PermissionError as error:  # Windows does not replace a file that is open
                    why = (error.strerror or "").lower()
                    raise DataError(f"{final}: cannot be replaced ({why}); close what has it open") from error


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold back signals that end the program; where that is not possible, as on Windows, ignore them."""
    if hasattr(signal, "pthread_sigmask"):
        previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, TERMINATING_SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)
        return
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in TERMINATING_SIGNALS if in_main_thread}
    try:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _same_file(path: Path, other: str | Path) -> bool:
    """Check whether two paths are the same file, also through links or upper and lower case letters."""
    try:
        return path.samefile(other)
    except OSError:  # one of them is not there
        return path == Path(os.path.realpath(other))
