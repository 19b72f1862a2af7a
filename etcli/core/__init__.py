"""Algorithms and data types: functions from arrays to arrays, without files or a terminal."""
