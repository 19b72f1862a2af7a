"""Joint reconstruction of several elements from few counts, tied to a HAADF series."""
