"""Peak memory of a reconstruction that is larger than it is allowed to take.

python benchmarks/memory.py [--memory 2G]         61 views of 1024 x 1024 to 1024 x 1024 x 512 voxels
python benchmarks/memory.py --size 2048 --views 121 --memory 4G --method bp
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import mrcfile
import numpy as np

ETCLI = str(Path(sys.executable).with_name("etcli"))


def main() -> None:
    """Reconstruct a random series and print what the child process took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memory", default="2G")
    parser.add_argument("--method", default="sirt", choices=("sirt", "fbp", "bp"))
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--views", type=int, default=61)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(0)
        with mrcfile.new_mmap(folder / "series.mrc", (args.views, args.size, args.size), mrc_mode=2) as file:
            for view in file.data:
                view[:] = rng.random(view.shape, np.float32)
        np.savetxt(folder / "series.rawtlt", np.linspace(-60, 60, args.views), "%.2f")
        command = [ETCLI, "recon", "--method", args.method, "--thickness", "512px"]
        command += ["--iterations", "2"] if args.method == "sirt" else []
        command += ["--memory", args.memory, str(folder / "series.mrc"), str(folder / "volume.mrc")]
        subprocess.run(command, check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1 << 20)
    print(f"{args.method} with --memory {args.memory}: peak {peak:.2f} GiB")


if __name__ == "__main__":
    main()
