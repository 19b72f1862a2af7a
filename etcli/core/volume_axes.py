"""Order and direction of the axes of a volume: flips, exchanges of axes, and turns by 90°."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError

Item = TypeVar("Item")
NAMES = "xyz"
QUARTER_DEG = 90
STEPS = rf"reverse[{NAMES}]|swap(?:xy|xz|yz)|rot[{NAMES}]-?\d+"


@dataclass(frozen=True)
class VolumeAxes:
    """Axes of one volume in terms of those of another.

    Parameters
    ----------
    source : (int, int, int)
        For x, y and z: which axis of the other volume (0 x, 1 y, 2 z) runs along it.
    sign : (int, int, int)
        1, or -1 where it runs backwards.
    """

    source: tuple[int, int, int] = (0, 1, 2)
    sign: tuple[int, int, int] = (1, 1, 1)

    @classmethod
    def parse(cls, text: str) -> "VolumeAxes":
        """Read axes in the form of ``str``, such as ``x,-z,y``; raise ValueError for others."""
        words = re.findall(rf"(-?)([{NAMES}])", text)
        axes = cls(
            tuple(NAMES.index(name) for _, name in words),  # type: ignore[arg-type]
            tuple(-1 if minus else 1 for minus, _ in words),  # type: ignore[arg-type]
        )
        if sorted(axes.source) != [0, 1, 2] or str(axes) != text:
            raise ValueError(f"'{text}' are not three axes")
        return axes

    @classmethod
    def of_steps(cls, text: str) -> "VolumeAxes":
        """Compute the axes after steps that follow each other.

        Parameters
        ----------
        text : str
            Steps with commas between: ``reversex`` reverses x, as IMOD's ``clip flipy`` does; ``swapxy``
            exchanges two axes; ``rotz90`` turns the content by 90° about z, from x to y (``roty90`` from z to
            x, ``rotx90`` from y to z).

        Returns
        -------
        VolumeAxes

        Raises
        ------
        UsageError
            When a step is unknown.
        """
        axes = cls()
        for step in text.split(","):
            axes = axes.then(cls._of_step(step.strip()))
        return axes

    @classmethod
    def _of_step(cls, step: str) -> "VolumeAxes":
        """Compute the axes after one step."""
        match = re.fullmatch(STEPS, step)
        degrees = int(step[4:]) if match and step.startswith("rot") else 0
        if match is None or degrees % QUARTER_DEG:
            raise UsageError(
                f"'{step}' is no turn; give reversex, swapxy, rotz90 and the like, with commas between them"
            )
        source, sign = [0, 1, 2], [1, 1, 1]
        if step.startswith("reverse"):
            sign[NAMES.index(step[-1])] = -1
        elif step.startswith("swap"):
            a, b = (NAMES.index(name) for name in step[4:])
            source[a], source[b] = b, a
        else:
            a = NAMES.index(step[3])
            b, c = (a + 1) % 3, (a + 2) % 3
            for _ in range(degrees // QUARTER_DEG % 4):  # b points to where c was, c against where b was
                source[b], source[c] = source[c], source[b]
                sign[b], sign[c] = -sign[c], sign[b]
        return cls(tuple(source), tuple(sign))  # type: ignore[arg-type]

    def __str__(self) -> str:
        words = zip(self.sign, self.source, strict=True)
        return ",".join(f"{'-' * (sign < 0)}{NAMES[source]}" for sign, source in words)

    def then(self, other: "VolumeAxes") -> "VolumeAxes":
        """Compute the axes after another change, which is given in terms of these axes."""
        return VolumeAxes(
            tuple(self.source[k] for k in other.source),  # type: ignore[arg-type]
            tuple(self.sign[k] * sign for k, sign in zip(other.source, other.sign, strict=True)),  # type: ignore[arg-type]
        )

    def inverse(self) -> "VolumeAxes":
        """Compute the change that undoes this one."""
        back = [self.source.index(k) for k in range(3)]
        return VolumeAxes(tuple(back), tuple(self.sign[k] for k in back))  # type: ignore[arg-type]

    @property
    def is_mirrored(self) -> bool:
        """Whether the hand of the content changes: left-handed screws become right-handed ones."""
        matrix = np.zeros((3, 3))
        matrix[range(3), self.source] = self.sign
        return bool(np.linalg.det(matrix) < 0)

    def ordered(self, of_axes: Sequence[Item]) -> tuple[Item, Item, Item]:
        """Return what belongs to x, y and z of the other volume in the order of these axes."""
        x, y, z = (of_axes[k] for k in self.source)
        return x, y, z

    def apply(self, data: NDArray[Any]) -> NDArray[Any]:
        """Return the other volume, an array (z, y, x), along these axes, as a view."""
        turned = data.transpose([2 - k for k in reversed(self.source)])
        return turned[tuple(slice(None, None, sign) for sign in reversed(self.sign))]


UPRIGHT = VolumeAxes()
IMOD_TILT = VolumeAxes((0, 2, 1), (1, -1, 1))
"""Axes of the volumes of IMOD's ``tilt``: sections along y, z downwards."""
