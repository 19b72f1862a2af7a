"""A particle of palladium with five twins (a Marks decahedron), in a random orientation, as extended XYZ.

python decahedron.py particle.xyz
"""

import sys

import numpy as np
from ase import Atoms
from ase.cluster import Decahedron
from ase.io import write
from scipy.spatial.transform import Rotation

ORIENTATION = 4  # seed

position = Decahedron("Pd", 7, 6, 2).positions
position -= position.mean(axis=0)
position = Rotation.random(rng=np.random.default_rng(ORIENTATION)).apply(position)
write(sys.argv[1], Atoms(f"Pd{len(position)}", positions=position), format="extxyz")
