"""History of a file: every processing step, with command line, version and inputs.

A step is a text whose first line is the short form, which is also the label of an MRC header. In an mdoc, and
in the extended header of a volume, each line is a title:

    [T = etcli recon 1.0: SIRT 30, 59 views]
    [T =   version: 1.0.2]
    [T =   command: etcli recon --exclude 3,7 aligned.mrc volume.mrc]
    [T =   input: aligned.mrc, 255852544 bytes, 1024 x 1024 x 61 of 4.2 A, -60 to 60 deg]
    [T =   input: aligned.mrc.mdoc, 20480 bytes]
"""

import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from etcli import __version__
from etcli.io.frame_label import FRAME, OURS

LABEL_LENGTH = 80
DETAIL = re.compile(r"\s*(version|command|input): (.*)")
SEPARATOR = " | "
WITH_VALUE = ("-j", "--threads", "--memory", "--dask", "--fail-status")
IRRELEVANT = re.compile(
    r"-j\d*|--(threads|memory|dask|fail-status)(=.*)?|-[qv]+|--(quiet|verbose|debug|no-clobber|overwrite|resume)"
)


@dataclass(frozen=True)
class Run:
    """Run of the program that makes a file.

    Parameters
    ----------
    command : sequence of str
        Its command line; empty where etcli is used from Python, and the steps then have no details. It is
        recorded without what does not change a result: folders of outputs, threads, memory, messages.
    inputs : sequence of str
        Names of the files that it has read; more may be added until the step is recorded.
    facts : mapping of str to str
        What is known of inputs by their names, in words.
    """

    command: Sequence[str] = ()
    inputs: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    def record(self, step: object) -> str:
        """Return a step with the details of the run."""
        if not self.command:
            return str(step)
        command = shlex.join(self._without_folder(word) for word in _relevant(self.command))
        run = [f"version: {__version__}", f"command: {_printable(command)}"]
        run += [f"input: {self._input(name)}" for name in dict.fromkeys(self.inputs)]
        return "\n  ".join([str(step), *run])

    def _without_folder(self, word: str) -> str:
        """Return an output without its folder, on which the bytes of files must not depend."""
        folder, name = os.path.split(word)
        is_output = word not in self.inputs and Path(folder).is_dir() and not Path(word).is_dir()
        return name if folder and name and is_output else word

    def _input(self, name: str) -> str:
        """Return name, size in bytes and further facts of an input."""
        path = Path(name)
        size = [f"{path.stat().st_size} bytes"] if path.is_file() else []
        facts = [self.facts[name]] if name in self.facts else []
        return ", ".join([_printable(name), *size, *facts])


def grouped(titles: Iterable[str]) -> list[str]:
    """Join the titles of a description to steps: those of details with the one before them."""
    steps: list[str] = []
    for title in titles:
        if steps and steps[-1].startswith(OURS) and DETAIL.fullmatch(title):
            steps[-1] += f"\n  {title.strip()}"
        else:
            steps.append(title.strip() if title.strip().startswith(OURS) else title)
    return steps


def steps_of_comment(lines: Iterable[str]) -> tuple[list[str], list[str]]:
    """Take the lines of a comment apart: the steps with their details, and the words of other programs."""
    entries = [entry for entry in grouped(lines) if entry.strip()]
    is_step = [entry.startswith(OURS) for entry in entries]
    steps = [entry for entry, ours in zip(entries, is_step, strict=True) if ours]
    return steps, [entry.strip() for entry, ours in zip(entries, is_step, strict=True) if not ours]


def complete(labels: Sequence[str], titles: Sequence[str]) -> tuple[str, ...]:
    """History of a file, from its labels and the titles of its description.

    Parameters
    ----------
    labels : sequence of str
        Labels of the file: no more than ten, cut at 80 characters.
    titles : sequence of str
        Titles of its description, which lack nothing.

    Returns
    -------
    tuple of str
        The labels of other programs, and the steps of etcli, as the titles give them.
    """
    steps = [step for step in grouped(titles) if step.startswith(OURS)]
    if not steps:
        return tuple(labels)
    own = [k for k, label in enumerate(labels) if label.startswith(OURS)]
    first = own[0] if own else len(labels)
    rest = [label for label in labels[first:] if not label.startswith(FRAME)]
    return (*labels[:first], *steps, *missing(rest, steps))


def missing(steps: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return the steps that are not among the known ones; those known twice may occur twice."""
    left = Counter(short(step) for step in known)
    absent = []
    for step in steps:
        if left[short(step)] > 0:
            left[short(step)] -= 1
        else:
            absent.append(step)
    return absent


def short(step: str) -> str:
    """Return the short form of a step, cut to the length of a label."""
    return step.partition("\n")[0].strip()[:LABEL_LENGTH].rstrip()


def in_one_line(step: str) -> str:
    """Return a step as one line, which `from_one_line` takes apart again."""
    return SEPARATOR.join(" ".join(line.split()) for line in step.split("\n"))


def from_one_line(text: str) -> str:
    """Return the step that `in_one_line` made one line of."""
    return re.sub(r" \| (?=(version|command|input): )", "\n  ", text)


def as_values(step: str) -> dict[str, str | list[str] | None]:
    """Take a step apart: ``step`` in short, ``version``, ``command`` and ``inputs``; None where unknown."""
    first, *lines = step.split("\n")
    values: dict[str, str | list[str] | None] = {"step": first, "version": None, "command": None}
    inputs: list[str] = []
    for line in lines:
        if match := DETAIL.fullmatch(line):
            if match[1] == "input":
                inputs.append(match[2])
            else:
                values[match[1]] = match[2]
    return {**values, "inputs": inputs}


def _relevant(command: Sequence[str]) -> list[str]:
    """Return a command line without the options of the machine, the messages and the files that exist."""
    words: list[str] = []
    is_value = False
    for word in command:
        if not is_value and not IRRELEVANT.fullmatch(word):
            words.append(word)
        is_value = not is_value and word in WITH_VALUE
    return words


def _printable(text: str) -> str:
    """Return a text with names of files in one line, and with ? for their bytes that are no text."""
    return " ".join(text.splitlines()).encode("utf-8", "replace").decode()
