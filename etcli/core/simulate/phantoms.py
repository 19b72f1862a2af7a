"""Standard phantoms: the head phantom of Shepp and Logan."""

import numpy as np

from etcli.core.errors import UsageError
from etcli.core.simulate.solids import Specimen, ellipsoid

# Contrasts and 2-D ellipses of Toft (1996); the fourth number, the radius along the tilt axis, is from
# Schabel's 3-D table. Columns: density, radii along x, z, y, centre in x, z, rotation from x to z in degrees.
SHEPP_LOGAN = (
    (1.0, 0.69, 0.92, 0.81, 0.0, 0.0, 0.0),
    (-0.8, 0.6624, 0.874, 0.78, 0.0, -0.0184, 0.0),
    (-0.2, 0.11, 0.31, 0.22, 0.22, 0.0, -18.0),
    (-0.2, 0.16, 0.41, 0.28, -0.22, 0.0, 18.0),
    (0.1, 0.21, 0.25, 0.41, 0.0, 0.35, 0.0),
    (0.1, 0.046, 0.046, 0.05, 0.0, 0.1, 0.0),
    (0.1, 0.046, 0.046, 0.05, 0.0, -0.1, 0.0),
    (0.1, 0.046, 0.023, 0.05, -0.08, -0.605, 0.0),
    (0.1, 0.023, 0.023, 0.02, 0.0, -0.606, 0.0),
    (0.1, 0.023, 0.046, 0.02, 0.06, -0.605, 0.0),
)


def shepp_logan(size: int) -> Specimen:
    """Create the head phantom of Shepp and Logan with Toft's contrasts, as ellipsoids.

    Parameters
    ----------
    size : int
        Edge of the field in pixels; the head is 0.92 of it high.

    Returns
    -------
    Specimen
        Its middle slice perpendicular to the tilt axis is the well-known picture, x to the right and z
        upwards, with densities from 0 to 1.

    Raises
    ------
    UsageError
        When the size is not positive.

    Notes
    -----
    Half axes along the tilt axis are those of the usual 3-D table; all centres are in the plane y = 0,
    so that the middle slice holds all ten ellipses of the 2-D table.

    References
    ----------
    L. A. Shepp, B. F. Logan, IEEE Trans. Nucl. Sci. 21, 21 (1974), doi:10.1109/TNS.1974.6499235.
    P. Toft, The Radon Transform, PhD thesis, Technical University of Denmark (1996).
    A. C. Kak, M. Slaney, Principles of Computerized Tomographic Imaging, IEEE Press (1988).
    M. Schabel, 3D Shepp-Logan phantom, MATLAB Central File Exchange 9416 (2006).
    """
    if size < 1:
        raise UsageError(f"a phantom of {size} px is empty; use a positive size")
    solids = []
    for density, radius_x, radius_z, radius_y, x, z, turn_deg in SHEPP_LOGAN:
        cos, sin = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
        rotation = [[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]]
        middle, radii = np.array([x, 0, z]), np.array([radius_x, radius_y, radius_z])
        solids.append(ellipsoid(middle * size / 2, radii * size / 2, density=density, rotation=rotation))
    return Specimen(tuple(solids))
