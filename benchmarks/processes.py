"""Time and memory of programs, measured from outside."""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# The peak of a process is at least that of the process that starts it: let it be a small one.
LAUNCHER = """
import json, os, sys, time
start = time.perf_counter()
process = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(process, 0)
seconds = time.perf_counter() - start
print("\\n" + json.dumps([seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024]))
sys.exit(min(os.waitstatus_to_exitcode(status) % 256, 255))
"""


class ProgramError(Exception):
    """A program failed; the message is the last line it wrote."""


@dataclass(frozen=True)
class Usage:
    """What a program took, and what it wrote to its standard output."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    output: str = ""

    def __add__(self, then: "Usage") -> "Usage":
        """Return what a program and one after it took together, with the output of the latter."""
        return Usage(
            self.seconds + then.seconds,
            self.cpu_seconds + then.cpu_seconds,
            max(self.peak_bytes, then.peak_bytes),
            then.output,
        )


def measure(command: Iterable[str | Path]) -> Usage:
    """Run a program to its end."""
    words = [str(word) for word in command]
    launch = [sys.executable, "-S", "-c", LAUNCHER, *words]
    done = subprocess.run(launch, capture_output=True, text=True, check=False)
    output, _, spent = done.stdout.rstrip("\n").rpartition("\n")
    if done.returncode:
        said = (output + done.stderr).strip().splitlines()
        raise ProgramError(said[-1] if said else f"{words[0]} ended with {done.returncode}")
    seconds, cpu_seconds, peak_bytes = json.loads(spent)
    return Usage(seconds, cpu_seconds, peak_bytes, output)
