"""Damaged files: every reader either reads a file or refuses it with an error in one line.

python -m tests.fuzz                            100 000 files, a quarter of an hour to an hour on one core
python -m tests.fuzz --count 2000 --kind tiff   some of one kind; without h5py those of HDF5 are left out
python -m tests.fuzz --first 4711 --count 1     one file again; those that end the process are kept

Good files of every format are damaged: bytes and numbers changed, pieces cut out, repeated or exchanged,
the end missing. A finding is an exception that is no error of etcli, more than 10 s for one file, more than
1 GiB of memory (the good files have a few kB), or the end of the process. Files are numbered, and each
follows from its number alone. The work is done in batches, each in a process of its own, so that
one that ends early costs only one file.
"""

import argparse
import faulthandler
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from etcli.core.errors import EtcliError
from tests.fuzz_seeds import seeds

BATCH = 500
SECONDS = 10
"""Processor time for a file; it may take six times as long on a busy machine."""
MEMORY = 1 << 30
"""Bytes that a process may take beside what it has when it begins."""
WORDS = ("nan", "inf", "-1", "0", "1e999", "1e30", "9" * 20, "-0.5", "", "x", "é", "\0", "[", '"')
INTEGERS = (0, 1, -1, 127, 128, 255, 32767, -32768, 65535, 0x7FFFFFFF, -0x80000000, 0x10000)


def damaged(content: bytes, rng: np.random.Generator, *, is_text: bool) -> bytes:
    """Return the content of a file with one to four changes."""
    for _ in range(rng.integers(1, 5)):
        change = _change_text if is_text and rng.random() < 0.6 else _change_bytes
        content = change(content, rng)
    return content


def _change_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(content)
    if not data:
        return bytes(rng.integers(0, 256, 8, np.uint8))
    # headers, at the beginning or the end, decide more than pixels do
    reach = len(data) if rng.random() < 0.3 else min(len(data), 1100)
    at = int(rng.integers(reach)) if rng.random() < 0.8 else len(data) - 1 - int(rng.integers(reach))
    length = int(rng.integers(1, 40))
    match rng.integers(7):
        case 0:
            data[at] ^= 1 << rng.integers(8)
        case 1:
            data[at : at + length] = rng.integers(0, 256, length, np.uint8).tobytes()
        case 2:
            number, width = int(rng.choice(INTEGERS)), int(rng.choice((2, 4, 8)))
            order = "little" if rng.random() < 0.7 else "big"
            at -= at % 2
            data[at : at + width] = (number % (1 << 8 * width)).to_bytes(width, order)
        case 3:
            del data[at:]
        case 4:
            del data[at : at + length]
        case 5:
            data[at:at] = data[at : at + length]
        case _:
            other = int(rng.integers(len(data)))
            data[at : at + length] = data[other : other + length]
    return bytes(data)


def _change_text(content: bytes, rng: np.random.Generator) -> bytes:
    lines = content.split(b"\n")
    at = int(rng.integers(len(lines)))
    match rng.integers(6):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[int(rng.integers(len(lines)))])
        case 2:
            lines[at] = b""
        case 3:
            lines[at] = lines[at] * int(rng.integers(2, 200))
        case 4:
            lines.insert(at, b" " * int(rng.integers(1, 5)) + rng.choice(WORDS).encode())
        case _:
            words = lines[at].split(b" ")
            words[int(rng.integers(len(words)))] = rng.choice(WORDS).encode()
            lines[at] = b" ".join(words)
    return b"\n".join(lines)


def check(number: int, folder: Path, kinds: Sequence[str]) -> str:
    """Write and read the damaged file of a number; return its kind and how that ended."""
    rng = np.random.default_rng([18, number])
    kind = kinds[number % len(kinds)]
    chosen = [seed for seed in seeds() if seed.kind == kind]
    seed = chosen[int(rng.integers(len(chosen)))]
    for name, content in seed.beside.items():
        (folder / name).write_bytes(content)
    path = folder / seed.name
    path.write_bytes(damaged(seed.content, rng, is_text=seed.is_text))
    try:
        seed.read(path)
    except EtcliError as error:
        text = str(error)
        return f"{kind}: refused" if text and "\n" not in text else f"{kind}: MESSAGE {text!r}"
    except MemoryError:
        return f"{kind}: MEMORY"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{kind}: {type(error).__name__} {error} ({Path(where.filename).name}:{where.lineno})"
    return f"{kind}: read"


def _batch(numbers: range, folder: Path, kinds: Sequence[str], results: Path) -> None:
    """Check some files in this process, and note the result of each on a line."""
    with Path("/proc/self/statm").open() as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
    warnings.simplefilter("ignore")
    with results.open("a") as notes, (folder / "log").open("w") as log:
        for number in numbers:
            signal.setitimer(signal.ITIMER_PROF, SECONDS)  # its signal ends the process
            faulthandler.dump_traceback_later(6 * SECONDS, exit=True, file=log)
            result = " ".join(check(number, folder, kinds).split())
            notes.write(f"{number} {result}\n")
            notes.flush()
            faulthandler.cancel_dump_traceback_later()


def run(
    numbers: range, kinds: Sequence[str], *, keep: Callable[[int, Path | None, str], None]
) -> Counter[str]:
    """Check files in batches; return how often each result occurred.

    Parameters
    ----------
    numbers : range
        Numbers of the files.
    kinds : sequence of str
        Kinds of files, in turn.
    keep : callable
        ``keep(number, folder, result)`` is called for a finding; the folder is that of the file if its
        process has ended.

    Returns
    -------
    Counter of str
    """
    counts: Counter[str] = Counter()
    first = numbers.start
    _import_readers(kinds)
    while first < numbers.stop:
        batch = range(first, min(first + BATCH, numbers.stop))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            child = os.fork()
            if child == 0:
                try:
                    _batch(batch, folder, kinds, folder / "results")
                finally:
                    os._exit(0)
            _, status = os.waitpid(child, 0)
            lines = (folder / "results").read_text().splitlines()
            for line in lines:
                number, _, result = line.partition(" ")
                counts[result] += 1
                if is_finding(result):
                    keep(int(number), None, result)
            first += len(lines)
            if len(lines) < len(batch):
                slow = os.WTERMSIG(status) == signal.SIGPROF or (folder / "log").stat().st_size
                how = "TOO SLOW" if slow else f"END OF THE PROCESS {status}"
                result = f"{kinds[first % len(kinds)]}: {how}"
                keep(first, folder, result)
                counts[result] += 1
                first += 1
    return counts


def _import_readers(kinds: Sequence[str]) -> None:
    """Read a good file of every kind, so that the batches need not import its reader."""
    for kind in kinds:
        seed = next(seed for seed in seeds() if seed.kind == kind)
        with tempfile.TemporaryDirectory() as folder, suppress(Exception):
            for name, content in {**seed.beside, seed.name: seed.content}.items():
                (Path(folder) / name).write_bytes(content)
            seed.read(Path(folder) / seed.name)


def is_finding(result: str) -> bool:
    """Whether a result is neither a file that was read nor one that was refused."""
    return not result.endswith((": read", ": refused"))


def main() -> None:
    """Check the files, and exit with status 1 if there is a finding."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = list(dict.fromkeys(seed.kind for seed in seeds()))
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=known)
    args = parser.parse_args()
    kinds = args.kind or known

    def keep(number: int, folder: Path | None, result: str) -> None:
        print(f"{number}: {result}", flush=True)
        if folder is not None:
            shutil.copytree(folder, f"fuzz-{number}", dirs_exist_ok=True)

    counts = run(range(args.first, args.first + args.count), kinds, keep=keep)
    for result, number in sorted(counts.items()):
        print(f"{number:7d}  {result}")
    findings = sum(number for result, number in counts.items() if is_finding(result))
    print(f"{sum(counts.values())} files of {len(kinds)} kinds, {findings} findings")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
