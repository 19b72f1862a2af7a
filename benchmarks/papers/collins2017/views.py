"""Numbers of the views to use, for ``etcli stack --views``.

    python views.py full 12 even          evenly spaced, the first at 0°
    python views.py wedge 20 half         evenly spaced, shifted by half a step
    python views.py wedge 20 angles.tlt   those of a plan

They are of a series in steps of 1°, from 0 to 179° (full) or from -70° to 70° (wedge).
"""

import sys
from pathlib import Path

import numpy as np

FIRST = {"full": 0, "wedge": -70}


def angles(reach: str, n: int, rule: str) -> list[int]:
    """Return the tilt angles of a rule, in whole degrees."""
    if rule not in ("even", "half"):
        return [round(float(line)) for line in Path(rule).read_text().split()]
    shift = 0.5 * (rule == "half")
    if reach == "full":
        return [round((k + shift) * 180 / n) for k in range(n)]
    if rule == "even":
        return np.rint(np.linspace(-70, 70, n)).astype(int).tolist()
    return [round(-70 + (k + shift) * 140 / n) for k in range(n)]


if __name__ == "__main__":
    reach, n, rule = sys.argv[1:]
    print(*(angle - FIRST[reach] + 1 for angle in angles(reach, int(n), rule)), sep=",")
