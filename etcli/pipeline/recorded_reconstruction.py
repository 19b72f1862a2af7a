"""The reconstruction in the history of a volume, run again on other views."""

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from etcli.core.errors import UsageError
from etcli.core.series import TiltSeries, Volume
from etcli.io.history import as_values, grouped
from etcli.io.image_file import open_images
from etcli.io.mdoc import Mdoc
from etcli.pipeline.files import write
from etcli.pipeline.twin import Rebuild

STEP = re.compile(r"etcli recon [^:]*: (?P<words>.*)")
WEIGHT = re.compile(r"\b(?:tv|l1) (?P<weight>[0-9.e+-]+)")
ONE_VALUE = {
    "--background", "--axis", "--euler", "--tilts", "--defocus", "--plot", "--error-curve", "--dask",
    "--orient", "--mode", "-j", "--threads", "--memory", "--device", "--fail-status",
}  # fmt: skip
"""Options of the series or of outputs, with their value, that the twin does not share."""
FLAGS = {
    "--half-sets", "--resume", "--json", "--quiet", "--verbose", "--debug", "--no-clobber", "--overwrite",
    "-q", "-v",
}  # fmt: skip
OTHER_MODELS = {"--contrast": "log", "--method": "multislice"}


def recorded_words(name: str) -> tuple[str, ...]:
    """Return the arguments of the command that a volume was reconstructed with.

    Parameters
    ----------
    name : str
        File of the volume.

    Returns
    -------
    tuple of str
        What followed ``etcli recon``.

    Raises
    ------
    UsageError
        When the history of the volume does not tell.
    """
    step = _last_step(open_images(name).volume())
    command = as_values(step)["command"] if step else None
    words = shlex.split(command) if isinstance(command, str) else []
    if "recon" not in words:
        raise UsageError(
            f"{name}: its history does not tell how it was reconstructed, which twin repeats; reconstruct it "
            "with etcli recon, or leave --series out"
        )
    return tuple(words[words.index("recon") + 1 :])


def with_files(name: str, options: Sequence[str], run: Callable[[list[str]], None]) -> Rebuild:
    """Make a function that reconstructs a series with the options of another reconstruction.

    Parameters
    ----------
    name : str
        Volume of that reconstruction.
    options : sequence of str
        Its options, one value after each.
    run : callable
        ``run(arguments)`` runs ``etcli recon``.

    Returns
    -------
    callable
        From a series without background to its volume.

    Raises
    ------
    UsageError
        When the views were no projections of the density.
    """
    volume = open_images(name).volume()
    for option, value in OTHER_MODELS.items():
        if (option, value) in pairwise(options):
            raise UsageError(f"{name}: twin is for projections, not for recon {option} {value}")
    kept = [*_kept(options), "--background", "none"]
    found = WEIGHT.search((_last_step(volume) or "").partition("\n")[0])
    if found and _is_automatic(kept, "--weight"):
        kept += ["--weight", found["weight"]]  # that of the volume, so that the twin is as smooth
    if ("--thickness", "auto") in pairwise(kept):
        kept += ["--thickness", f"{volume.upright().shape[0]}px"]

    def rebuild(series: TiltSeries) -> Volume:
        with TemporaryDirectory(prefix="etcli-twin-") as folder:
            views, target = (str(Path(folder) / file) for file in ("views.mrc", "volume.mrc"))
            write(series, views)
            run([*kept, views, target])
            twin = open_images(target).volume()
            return replace(twin, data=np.array(twin.images(), np.float32))

    return rebuild


def _last_step(volume: Volume) -> str | None:
    """Return the last reconstruction in the history of a volume, with its details."""
    titles = volume.description.titles if isinstance(volume.description, Mdoc) else volume.history
    steps = [step for step in grouped(titles) if STEP.match(step)]
    return steps[-1] if steps else None


def _kept(options: Sequence[str]) -> list[str]:
    """Return the options that also hold for the twin."""
    kept: list[str] = []
    skip = False
    for word in options:
        if not skip and word not in ONE_VALUE | FLAGS:
            kept.append(word)
        skip = not skip and word in ONE_VALUE
    return kept


def _is_automatic(options: Sequence[str], name: str) -> bool:
    """Whether an option is not given, or is auto."""
    return name not in options or (name, "auto") in pairwise(options)
