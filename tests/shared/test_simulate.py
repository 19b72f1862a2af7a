from pathlib import Path

import mrcfile
import numpy as np

from etcli.core.simulate.imaging import project
from etcli.core.simulate.solids import Specimen, ellipsoid, embed


def test_the_published_catalyst_is_what_its_spheres_project_to(shared_data: Path) -> None:
    folder = shared_data / "etspy"
    tilt_deg = np.loadtxt(folder / "catalyst_180_bin2.rawtlt")
    table = np.loadtxt(folder / "catalyst_truth.csv", delimiter=",", skiprows=4)
    # Half of the 600 voxels a side; spheres are centred on (300, 300, 300) there, half a voxel off.
    x, y, z = (table[:, 2] - 299.5) / 2, (299.5 - table[:, 0]) / 2, (299.5 - table[:, 1]) / 2
    support = ellipsoid((0.25, -0.25, -0.25), 100, density=100.0)
    solids = [support]
    for *middle, radius in zip(x, y, z, table[:, 3] / 2, strict=True):
        solids += embed([support], ellipsoid(middle, radius, density=255.0))
    specimen = Specimen(tuple(solids))
    with mrcfile.mmap(folder / "catalyst_180_bin2.mrc") as file:
        for index in (0, 17, 45, 70):
            recorded = np.asarray(file.data[index], np.float64)
            view = project(specimen, float(tilt_deg[index]), shape=(300, 300))
            assert np.linalg.norm(view - recorded) < 0.002 * np.linalg.norm(recorded)
