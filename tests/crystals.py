"""Unit cells of crystals, and images of columns made of them."""

import numpy as np

from etcli.core.atomic_model import Atoms

SITES = {
    "fcc": [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
    "bcc": [[0, 0, 0], [0.5, 0.5, 0.5]],
    "hcp": [[0, 0, 0], [1 / 3, 2 / 3, 0.5]],
}
SITES["diamond"] = SITES["fcc"] + [[x + 0.25, y + 0.25, z + 0.25] for x, y, z in SITES["fcc"]]


def crystal(kind: str, a: float, c: float | None = None, element: str = "Au") -> tuple[Atoms, np.ndarray]:
    """Atoms and edges of a unit cell."""
    edges = a * np.eye(3)
    if kind == "hcp":
        edges = np.array([[a, 0, 0], [-a / 2, np.sqrt(3) / 2 * a, 0], [0, 0, c or a * np.sqrt(8 / 3)]])
    sites = np.array(SITES[kind], float)
    return Atoms(sites @ edges, np.full(len(sites), element)), edges
