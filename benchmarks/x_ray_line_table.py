"""Write the table of X-ray lines, etcli/core/spectra/line_table.py, from the database of the package xraydb.

python -m pip install xraydb
python benchmarks/x_ray_line_table.py > etcli/core/spectra/line_table.py
"""

import textwrap

import xraydb

LOWEST_eV, HIGHEST_eV, LEAST_SHARE = 100, 45_000, 0.003
SUBSHELLS = ("K", "L1", "L2", "L3", "M1", "M2", "M3", "M4", "M5")
HEAD = '''"""Energies, shares and yields of the X-ray lines of the elements, as a table in text.

The values are those of the package xraydb {version} by M. Newville (University of Chicago, MIT licence),
whose source is the compilation of Elam, Ravel and Sieber; `benchmarks/x_ray_line_table.py` writes this
file. It has the lines from {low:g} eV to {high:g} keV that are at least {share} of what their subshell emits.

References
----------
W. T. Elam, B. D. Ravel, J. R. Sieber, Radiat. Phys. Chem. 63, 121 (2002), doi:10.1016/S0969-806X(01)00227-4.
"""

# For each element: its symbol and a colon; for each subshell: its name, the energy of its edge in eV, its
# fluorescence yield, and its lines, each as name, energy in eV and share of the photons of the subshell.
LINE_TABLE = """\\'''


def of_element(symbol: str) -> list[str]:
    """Return the subshells of an element that have lines."""
    edges, rows = xraydb.xray_edges(symbol), []
    for shell in SUBSHELLS:
        lines = [
            f"{name.replace(',', '')} {line.energy:.1f} {line.intensity:.4f}".replace(" 0.", " .")
            for name, line in xraydb.xray_lines(symbol).items()
            if line.initial_level == shell
            and LOWEST_eV <= line.energy <= HIGHEST_eV
            and line.intensity >= LEAST_SHARE
        ]
        if lines and edges[shell].fyield > 0:
            head = f"{shell} {edges[shell].energy:.0f} {edges[shell].fyield:.4g}".replace(" 0.", " .")
            rows.append(" ".join([head, *lines]))
    return rows


if __name__ == "__main__":
    print(HEAD.format(version=xraydb.__version__, low=LOWEST_eV, high=HIGHEST_eV / 1000, share=LEAST_SHARE))
    for number in range(3, 99):
        symbol = xraydb.atomic_symbol(number)
        if subshells := of_element(symbol):
            print("\n".join(textwrap.wrap(f"{symbol}: {' '.join(subshells)}", 109, subsequent_indent=" ")))
    print('"""')
