"""How long help takes, as a ratio to importing click alone.

python benchmarks/startup.py [--runs 20]
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from etcli.cli.main import COMMANDS

ETCLI = str(Path(sys.executable).with_name("etcli"))


def fastest(command: list[str], runs: int) -> float:
    """Return the shortest wall time of a command in seconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print a row a command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    click = fastest([sys.executable, "-c", "import click"], runs)
    print(f"{'import click':<24} {1000 * click:6.0f} ms")
    for name in ("", *COMMANDS):
        command = [ETCLI, *([name] if name else []), "--help"]
        seconds = fastest(command, runs)
        print(f"{' '.join(['etcli', *command[1:]]):<24} {1000 * seconds:6.0f} ms {seconds / click:6.2f} x")


if __name__ == "__main__":
    main()
