"""Comparison of two files of labels: what both label, and the volumes of the bodies that belong together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.label_agreement import label_agreement
from etcli.core.measurement.label_sums import as_labels
from etcli.core.series import ImageStack, Volume
from etcli.io.segmentation_step import segmentation_of
from etcli.pipeline.inputs import file_named_in_errors, load_images
from etcli.pipeline.session import Session

LABELS = "labels"
"""Name of the metric."""
COPIES = 4


def are_compared_as_labels(
    session: Session, first: ImageStack, second: ImageStack, metrics: Sequence[str]
) -> bool:
    """Tell whether two stacks are compared as labels: as asked for, or else as their histories tell.

    Parameters
    ----------
    session : Session
        Is warned where only one of them holds labels.
    first, second : TiltSeries or Volume
    metrics : sequence of str
        What is to be computed; empty for all that suits.

    Returns
    -------
    bool
        A volume of whole numbers beside labels of ``segment`` holds labels too.

    Raises
    ------
    UsageError
        When labels and other metrics are asked for, or series are to be compared as labels.
    """
    if LABELS in metrics:
        if len(set(metrics)) > 1:
            raise UsageError("--metric labels is for itself; compare again for the others")
        if not (isinstance(first, Volume) and isinstance(second, Volume)):
            raise UsageError("--metric labels is for volumes of labels, not for series")
        return True
    by_history = [segmentation_of(stack.history) is not None for stack in (first, second)]
    if metrics or not any(by_history):
        return False
    may_be = [
        known or (isinstance(stack, Volume) and _are_whole(stack.images()))
        for known, stack in zip(by_history, (first, second), strict=True)
    ]
    if not all(may_be):
        names = first.name, second.name
        labels, other = names if by_history[0] else names[::-1]
        session.reporter.warn(
            f"{labels} holds labels and {other} does not; the numbers of labels are compared with its values"
        )
    return all(may_be)


def compare_labels(session: Session, first: ImageStack, second: ImageStack) -> dict[str, Any]:
    """Compare labels with a reference of the same shape.

    Parameters
    ----------
    session : Session
    first, second : Volume

    Returns
    -------
    dict
        ``dice`` of all that is labelled; ``labels_a`` and ``labels_b``, their numbers; ``matched``, the
        number of pairs; mean and rms difference of their volumes in percent of those of the reference.

    Raises
    ------
    DataError
        When the values are no labels.
    """
    found = []
    for stack in (first, second):
        with file_named_in_errors(stack):
            found.append(as_labels(load_images(session, stack, copies=COPIES)))
    agreement = label_agreement(found[0], found[1])
    percent = 100 * agreement.differences
    return {
        "dice": agreement.dice,
        "labels_a": agreement.n_labels[0],
        "labels_b": agreement.n_labels[1],
        "matched": len(agreement.pairs),
        "volume_mean_percent": float(percent.mean()) if len(percent) else None,
        "volume_rms_percent": float(np.sqrt(np.mean(percent**2))) if len(percent) else None,
    }


def _are_whole(values: NDArray[Any]) -> bool:
    """Whether all values are whole numbers from 0."""
    return bool(np.all((values >= 0) & (values == np.floor(values))))
