"""Names of the maps that a command makes of the maps of one specimen: ``OUT_Ni.mrc``, ``OUT_Co.mrc``."""

from collections.abc import Sequence
from pathlib import Path

from etcli.core.errors import UsageError
from etcli.core.series import TiltSeries
from etcli.io.element_map import ElementMap
from etcli.io.image_file import STREAM


def map_file(output: str, name: str) -> str:
    """Return the name of the file of one map: ``OUT_Ni.mrc`` of ``OUT.mrc`` and ``Ni``."""
    path = Path(output)
    return str(path.with_name(f"{path.stem}_{name}{path.suffix}"))


def named_outputs(series: Sequence[TiltSeries], output: str) -> list[str]:
    """Return the names of the outputs of a command, one for each of its inputs.

    Parameters
    ----------
    series : sequence of TiltSeries
        The inputs, by the names of their files.
    output : str
        What the user named.

    Returns
    -------
    list of str
        `output` itself for a single input. For several, `output` with what distinguishes the inputs before
        its ending: the name from the symbol of the element on, if that is a part between underscores, else
        what follows the part that all names have in common.

    Raises
    ------
    UsageError
        When two outputs would have the same name, or one is a stream.
    """
    if len(series) == 1:
        return [output]
    if STREAM in (output, *(one.name for one in series)):
        raise UsageError("several INPUTs cannot be streams; name files, or give one INPUT")
    words = [Path(one.name).stem.split("_") for one in series]
    shared = next((k for k, same in enumerate(zip(*words, strict=False)) if len(set(same)) > 1), None)
    names = []
    for one, parts in zip(series, words, strict=True):
        element = ElementMap.of(one.description).element
        rest = parts[parts.index(element) :] if element in parts else parts[shared:]
        names.append(map_file(output, "_".join(rest)))
    for k, name in enumerate(names):
        if name in names[:k]:
            both = series[names.index(name)].name, series[k].name
            raise UsageError(
                f"{both[0]} and {both[1]} would both become {name}; name their files differently"
            )
    return names
