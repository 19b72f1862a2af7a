"""The library: arrays in, arrays out."""
