"""Measures of labelled volumes: what is counted, what it is sure of, and what the missing wedge does to it.

Labels are whole numbers, 0 the background, in an array (z, y, x); lengths are in voxels, and positions are
from the first voxel. A voxel is a unit cube about its centre. A pass over the whole volume serves all labels
at once; what needs one label at a time works in its bounding box.
"""
