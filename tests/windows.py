"""Stand-in for Windows: runs etcli without what Python offers on POSIX systems only.

    python tests/windows.py ARGUMENT...

The code of etcli finds no functions, signals and modules that Windows lacks; libraries find them, as these
ask for the system. Files behave as on Windows: one that is open or mapped can be neither deleted nor renamed
nor replaced, and only one that is open for writing can be flushed to the disk.
"""

import builtins
import errno
import fcntl
import os
import signal
import sys
import types
from pathlib import Path
from typing import Any

NAMES = """
    chown fchmod fchown fork getegid geteuid getgid getloadavg getpgid getpriority getuid killpg lchown
    lockf mkfifo nice posix_fadvise posix_fallocate posix_spawn pread preadv pwrite pwritev readv
    register_at_fork sched_getaffinity sched_yield sendfile setsid statvfs sync sysconf uname wait3
    wait4 writev O_NOFOLLOW alarm pthread_kill pthread_sigmask setitimer sigpending sigwait SIG_BLOCK
    SIG_SETMASK SIG_UNBLOCK SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP
    SIGUSR1 SIGUSR2 SIGWINCH SIGXCPU SIGXFSZ
"""
MISSING = set(NAMES.split())
MODULES = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty")
OURS = "etcli"


class Lacking(types.ModuleType):
    """Module that lacks some of its names for the code of etcli."""

    def __getattribute__(self, name: str) -> Any:
        if name in MISSING and sys._getframe(1).f_globals.get("__name__", "").startswith(OURS):
            raise AttributeError(f"module has no attribute {name!r} on Windows")
        return super().__getattribute__(name)


def become_windows() -> None:
    """Take away what Windows lacks, and treat files as it does."""
    flush, load = os.fsync, builtins.__import__

    def fsync(file: int) -> None:
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flush(file)

    def import_module(name: str, globals: Any = None, *arguments: Any, **how: Any) -> Any:
        if name in MODULES and str((globals or {}).get("__name__")).startswith(OURS):
            raise ModuleNotFoundError(f"No module named {name!r} on Windows")
        return load(name, globals, *arguments, **how)

    os.fsync, builtins.__import__ = fsync, import_module
    os.__class__ = signal.__class__ = Lacking  # type: ignore[assignment]
    sys.addaudithook(_refuse_files_in_use)


def _refuse_files_in_use(event: str, arguments: tuple[Any, ...]) -> None:
    """Fail as Windows does where a file that is in use would be deleted, renamed or replaced."""
    if event not in ("os.remove", "os.rename"):
        return
    for name in arguments[: 2 if event == "os.rename" else 1]:
        path = os.path.realpath(os.fsdecode(name))
        if Path(path).is_file() and path in _in_use():
            raise PermissionError(errno.EACCES, "The file is in use", path)


def _in_use() -> set[str]:
    """Return the files that this process has open or mapped."""
    folder = Path("/proc/self")
    opened = {str(link.readlink()) for link in (folder / "fd").iterdir() if link.is_symlink()}
    mapped = {line.split(maxsplit=5)[-1] for line in (folder / "maps").read_text().splitlines()}
    return opened | mapped


if __name__ == "__main__":
    become_windows()
    from etcli.cli.run import main

    main()
