"""All benchmarks of errors, speed and memory, beside the peers that are installed. Takes a quarter hour.

python benchmarks/run.py
"""

import subprocess
import sys
from pathlib import Path

PARTS = (
    "startup",
    "kernels",
    "reconstruction",
    "multislice",
    "scale",
    "quality",
    "alignment",
    "depth",
    "memory",
)


def main() -> None:
    """Run the parts one after the other, so that none disturbs another."""
    for part in PARTS:
        print(f"\n== {part}", flush=True)
        subprocess.run([sys.executable, Path(__file__).with_name(f"{part}.py")], check=True)


if __name__ == "__main__":
    main()
