"""Segmentation of volumes: thresholds, pieces, their splitting, and a level for each label."""
