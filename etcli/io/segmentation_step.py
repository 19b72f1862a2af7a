"""The step of ``etcli segment`` in the history of labels: what measures them reads the threshold there."""

import re
from collections.abc import Sequence

from etcli.io.frame_label import without_frame
from etcli.io.writers import ProcessingStep

COMMAND = "segment"
STEP = re.compile(rf"etcli {COMMAND} [^:]*: (?P<words>.*)")
THRESHOLD = re.compile(r"\bthreshold (?P<low>[-+0-9.e]+)(?:, (?P<high>[-+0-9.e]+))?")
INVERTED = re.compile(r"\binverted\b")
LOCAL = "local half"


def segmentation_step(
    rule: str, thresholds: Sequence[float], *, local: bool, others: Sequence[str]
) -> ProcessingStep:
    """Describe how labels were found.

    Parameters
    ----------
    rule : str
    thresholds : sequence of float
        The threshold; of two rules with two levels both.
    local : bool
        Whether each label has a threshold of its own, and these were only used to find it.
    others : sequence of str
        Other words, such as "split 0.75 px".

    Returns
    -------
    ProcessingStep
    """
    levels = ", ".join(f"{threshold:.6g}" for threshold in thresholds)
    words = [f"{LOCAL}, found by {rule} above {levels}"] if local else [rule, f"threshold {levels}"]
    return ProcessingStep(COMMAND, ", ".join([*words, *others]))


def is_labels_file(history: Sequence[str]) -> bool:
    """Tell whether a segmentation is the last step of a history."""
    return bool(history and STEP.match(history[-1]))


def global_threshold_of(history: Sequence[str]) -> float | None:
    """Read the threshold of all labels from the history of a labels file.

    Parameters
    ----------
    history : sequence of str
        Steps, the oldest first.

    Returns
    -------
    float or None
        The threshold of the last segmentation, of two that at which labels end: the lower one, or where what
        is darker was labelled the higher one; None where each label has its own, or where the history has no
        segmentation.

    Examples
    --------
    >>> global_threshold_of(["etcli segment 0.1: edge, threshold 0.5253, split 0.75 px, 12 labels"])
    0.5253
    """
    for step in reversed(history):
        if found := STEP.match(step):
            words = found["words"].partition("\n")[0]
            levels = THRESHOLD.search(words)
            if not levels or words.startswith(LOCAL):
                return None
            return float((INVERTED.search(words) and levels["high"]) or levels["low"])
    return None


def segmentation_of(history: Sequence[str]) -> str | None:
    """Read how labels were found; None for files that are no labels.

    Parameters
    ----------
    history : sequence of str
        Steps, the oldest first.

    Returns
    -------
    str or None
        Rule, threshold, and number of labels of the last step of the history, if that is a segmentation.

    Examples
    --------
    >>> segmentation_of(["etcli segment 0.1: edge, threshold 0.5253, split 0.75 px, 12 labels"])
    'edge, threshold 0.5253, split 0.75 px, 12 labels'
    """
    steps = without_frame(history)
    found = STEP.match(steps[-1]) if steps else None
    return found["words"].partition("\n")[0] if found else None
