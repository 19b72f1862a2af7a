"""Work of each command, without a terminal: joins files and core. The Python interface consists of it."""
