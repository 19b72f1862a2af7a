"""Bodies to mesh, and readers of files of surfaces that share nothing with their writers."""

import struct
from collections import Counter
from pathlib import Path

import numpy as np

Points = list[tuple[float, float, float]]


def ball(radius: float, n: int = 32, offset: float = 0.3) -> np.ndarray:
    """Return a ball with a linear edge of one voxel, not centred on a voxel."""
    z, y, x = np.mgrid[:n, :n, :n] - (n - 1) / 2 - offset
    return np.clip(radius - np.sqrt(z * z + y * y + x * x) + 0.5, 0, 1).astype(np.float32)


def read_stl(path: Path) -> tuple[str, np.ndarray, np.ndarray]:
    """Read binary STL: the header, the corners (m, 3, 3) in x, y, z, and the normals (m, 3)."""
    raw = path.read_bytes()
    (n,) = struct.unpack_from("<I", raw, 80)
    assert len(raw) == 84 + 50 * n
    numbers = np.array([struct.unpack_from("<12f", raw, 84 + 50 * k) for k in range(n)]).reshape(-1, 4, 3)
    return raw[:80].decode("ascii").rstrip(), numbers[:, 1:], numbers[:, 0]


def faces_at_edges(corners: np.ndarray) -> Counter[int]:
    """Return how many edges have how many triangles, where vertices are the same if their places are."""
    edges: Counter[frozenset[tuple[float, ...]]] = Counter()
    for triangle in corners.tolist():
        a, b, c = map(tuple, triangle)
        edges.update([frozenset((a, b)), frozenset((b, c)), frozenset((c, a))])
    return Counter(edges.values())


def size(corners: np.ndarray) -> tuple[float, float]:
    """Return the area and the volume inside of triangles (m, 3, 3)."""
    a, b, c = corners.transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    return float(np.linalg.norm(normal, axis=1).sum() / 2), float((a * normal).sum() / 6)
