"""Model of an image of atomic columns: round Gaussians, each cut to a square box.

The sums over pixels that least squares needs, of two columns at a time, are zero unless their boxes overlap:
they are kept as sparse matrices of the size of the number of columns, whatever the size of the image.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from etcli.core.depth import _column_kernels as kernels
from etcli.core.depth._column_kernels import HEIGHT, WIDTH, X, Y

__all__ = ["HEIGHT", "ROUNDING", "WIDTH", "Bordered", "GaussianColumns", "Sparse", "X", "Y", "raised"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Sparse = Any  # scipy.sparse has no types

ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class GaussianColumns:
    """Columns exp(-|r - β|²/(2ρ²)) of height 1 in an image, each inside a box of pixels.

    Parameters
    ----------
    x_px, y_px, width_px : ndarray of shape (n_columns,), float64
        Centre β, as pixel coordinates, and standard deviation ρ of each column, in pixels.
    shape : tuple of int
        Shape (ny, nx) of the image.
    boxes : ndarray of shape (n_columns, 4), int64
        First and past-the-end pixel of each box along x, then along y.
    pairs : ndarray of shape (n_pairs, 2), int64
        Columns whose boxes overlap, each pair once, and each column with itself.
    bell_x, bell_y : ndarray of shape (n_columns, n), float64
        Values of both factors of the Gaussian at the pixels of the box.
    """

    x_px: Float
    y_px: Float
    width_px: Float
    shape: tuple[int, int]
    boxes: Int
    pairs: Int
    bell_x: Float
    bell_y: Float

    @classmethod
    def at(
        cls, x_px: Float, y_px: Float, width_px: Float, *, box: float, shape: tuple[int, int]
    ) -> "GaussianColumns":
        """Place columns in boxes of all pixels that the square |dx|, |dy| <= ``box`` ρ touches.

        Parameters
        ----------
        x_px, y_px, width_px : ndarray of shape (n_columns,), float64
        box : float
            Half the side of the square, in units of ρ.
        shape : tuple of int
            Shape (ny, nx) of the image.

        Returns
        -------
        GaussianColumns
        """
        reach, (ny, nx) = box * width_px + 0.5, shape
        boxes = np.stack(
            [
                np.clip(np.ceil(x_px - reach), 0, nx),
                np.clip(np.floor(x_px + reach) + 1, 0, nx),
                np.clip(np.ceil(y_px - reach), 0, ny),
                np.clip(np.floor(y_px + reach) + 1, 0, ny),
            ],
            axis=1,
        ).astype(np.int64)
        return cls._tabulated(x_px, y_px, width_px, shape, boxes, _overlapping(x_px, y_px, reach, boxes))

    @classmethod
    def _tabulated(
        cls, x_px: Float, y_px: Float, width_px: Float, shape: tuple[int, int], boxes: Int, pairs: Int
    ) -> "GaussianColumns":
        bells = [
            np.exp(-0.5 * (_steps(boxes[:, k : k + 2], at) / width_px[:, np.newaxis]) ** 2)
            for k, at in ((0, x_px), (2, y_px))
        ]
        return cls(x_px, y_px, width_px, shape, boxes, pairs, *bells)

    def moved(self, x_px: Float, y_px: Float, width_px: Float) -> "GaussianColumns":
        """Return columns of other places and widths in the same boxes.

        The sum of squares changes smoothly only as long as no pixel enters or leaves a box.
        """
        return self._tabulated(x_px, y_px, width_px, self.shape, self.boxes, self.pairs)

    def __len__(self) -> int:
        return len(self.x_px)

    def image(self, height: Float, background: float = 0.0) -> Float:
        """Compute the image of the columns with given heights, on a constant background."""
        image = np.full(self.shape, background)
        kernels.add_columns(self.boxes, self.bell_x, self.bell_y, np.ascontiguousarray(height), image)
        return image

    def project(self, image: Float) -> Float:
        """Compute the sum over pixels of an image times each column: the adjoint of `image`."""
        out = np.empty(len(self))
        kernels.project(self.boxes, self.bell_x, self.bell_y, np.ascontiguousarray(image), out)
        return out

    def overlaps(self, weight: Float) -> Sparse:
        """Compute the sums of the products of two columns, a sparse (n_columns, n_columns) matrix."""
        sums = np.empty(len(self.pairs))
        weight = np.ascontiguousarray(weight)
        kernels.overlaps(self.pairs, self.boxes, self.bell_x, self.bell_y, weight, sums)
        return _symmetric(self.pairs, sums[:, np.newaxis, np.newaxis], len(self))

    def project_derivatives(self, height: Float, image: Float) -> Float:
        """Compute the sums of an image times the derivatives of the model by x, y, ρ and η of each column.

        Parameters
        ----------
        height : ndarray of shape (n_columns,), float64
            Heights η.
        image : ndarray of shape (ny, nx), float64

        Returns
        -------
        ndarray of shape (4 * n_columns,), float64
            Column by column.
        """
        out = np.empty((len(self), 4))
        columns, image = self._parameters(height), np.ascontiguousarray(image)
        kernels.project_derivatives(self.boxes, self.bell_x, self.bell_y, columns, image, out)
        return out.ravel()

    def derivative_products(self, height: Float, weight: Float) -> Sparse:
        """Compute JᵀWJ for the derivatives J by x, y, ρ and η, a sparse (4 n_columns, 4 n_columns) matrix."""
        out = np.empty((len(self.pairs), 4, 4))
        columns, weight = self._parameters(height), np.ascontiguousarray(weight)
        kernels.derivative_products(self.pairs, self.boxes, self.bell_x, self.bell_y, columns, weight, out)
        return _symmetric(self.pairs, out, len(self))

    def _parameters(self, height: Float) -> Float:
        return np.stack([self.x_px, self.y_px, self.width_px, height], axis=1)


@dataclass(frozen=True, eq=False)
class Bordered:
    """Factorised symmetric positive matrix [[A, B], [Bᵀ, C]] with a sparse A and few dense columns B.

    Parameters
    ----------
    local : sparse matrix of shape (n, n)
        A, of unknowns that each concern one column.
    border : ndarray of shape (n, m), float64
        B, of the m unknowns that concern all columns.
    corner : ndarray of shape (m, m), float64
        C.
    """

    local: Any
    reduced: Float
    """A⁻¹B."""
    border: Float
    complement: Float
    """The Schur complement C - BᵀA⁻¹B."""

    @classmethod
    def factorise(cls, local: Sparse, border: Float, corner: Float) -> "Bordered":
        """Factorise the matrix; B may have no columns, and what A cannot tell apart gets some solution."""
        # for symmetric positive definite matrices, as the manual of SuperLU advises
        factors = splu(
            sparse.csc_array(raised(local)),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
        reduced = factors.solve(border) if border.size else np.zeros_like(border)
        least = np.diag(ROUNDING * np.where(corner.diagonal() > 0, corner.diagonal(), 1))
        return cls(factors, reduced, border, corner + least - border.T @ reduced)

    def solve(self, local: Float, border: Float) -> tuple[Float, Float]:
        """Solve for the right-hand sides (n, ...) and (m, ...) of both parts.

        Parameters
        ----------
        local : ndarray of shape (n,) or (n, k), float64
        border : ndarray of shape (m,) or (m, k), float64

        Returns
        -------
        local, border : ndarray
            The solution, of the same shapes.
        """
        alone = self.local.solve(np.ascontiguousarray(local))
        if not self.border.shape[1]:
            return alone, border
        common = np.linalg.solve(self.complement, border - self.border.T @ alone)
        return alone - self.reduced @ common, common


def raised(matrix: Sparse) -> Sparse:
    """Return a matrix that is not singular: its diagonal is larger by about a rounding error."""
    diagonal = matrix.diagonal()
    return matrix + sparse.diags_array(ROUNDING * np.maximum(diagonal, ROUNDING * (diagonal.max() or 1.0)))


def _steps(ends: Int, at: Float) -> Float:
    """Return the distances of the pixels of each box from the centre, as many for all as the widest has."""
    longest = int(np.max(ends[:, 1] - ends[:, 0], initial=1))
    return np.asarray(ends[:, :1] + np.arange(longest) - at[:, np.newaxis], np.float64)


def _overlapping(x_px: Float, y_px: Float, reach: Float, boxes: Int) -> Int:
    """Return the pairs of columns whose boxes share a pixel, and each column with itself."""
    n = len(boxes)
    tree = cKDTree(np.stack([x_px, y_px], axis=1))
    near = tree.query_pairs(2 * reach.max(), p=np.inf, output_type="ndarray").astype(np.int64)
    i, j = boxes[near[:, 0]], boxes[near[:, 1]]
    shared = np.minimum(i[:, 1::2], j[:, 1::2]) > np.maximum(i[:, ::2], j[:, ::2])
    itself = np.repeat(np.arange(n, dtype=np.int64)[:, np.newaxis], 2, axis=1)
    return np.concatenate([itself, near[shared.all(axis=1)]])


def _symmetric(pairs: Int, blocks: Float, n: int) -> Sparse:
    """Return the symmetric matrix with a block for each pair, of which the first n are (i, i)."""
    size = blocks.shape[1]
    off = pairs[n:]
    within = np.arange(size)
    both = np.concatenate([pairs, off[:, ::-1]])
    values = np.concatenate([blocks, blocks[n:].transpose(0, 2, 1)])
    rows = np.broadcast_to((size * both[:, 0])[:, None, None] + within[:, None], values.shape)
    columns = np.broadcast_to((size * both[:, 1])[:, None, None] + within, values.shape)
    entries = (values.ravel(), (rows.ravel(), columns.ravel()))
    return sparse.csc_array(sparse.coo_array(entries, shape=(size * n, size * n)))
