"""The registry of methods: what an entry declares, and what follows from it."""

import math
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.reconstruction.solve import slab_solver
from etcli.core.solvers.filtered_backprojection import FILTERS as WINDOWS
from etcli.core.solvers.filtered_backprojection import window_of
from etcli.core.solvers.methods import (
    FILTERS,
    METHODS,
    NORMALISATION,
    OPTICS,
    OWNERS,
    PRIORS,
    MethodParameters,
    is_filter,
    methods_with,
)
from etcli.core.solvers.priors import HELD
from etcli.core.solvers.slab_solver import SlabSolver

GEOMETRY = SliceGeometry(np.linspace(-60, 60, 7), n_detector=8, thickness=8, width=8)
# options of the command line that are no parameters of a method
OTHERS = {"auto_iterations", "nonnegative", "error_curve", "kernel", "backend", "mask", "initial"}
OTHERS |= OPTICS | NORMALISATION


@pytest.mark.parametrize("name", METHODS)
def test_an_entry_is_complete(name: str) -> None:
    method = METHODS[name]
    assert method.name == name and method.help and not method.help.endswith(".")
    assert method.options <= {field.name for field in fields(MethodParameters)} | OTHERS
    assert ("iterations" in method.options) == method.is_iterative == ("error_curve" in method.options)
    if method.whole_volume or method.any_orientation:
        assert callable(method.load("solve_volume"))
    if method.whole_volume:
        assert method.load("volumes_held")(MethodParameters(name)) >= 2
        with pytest.raises(UsageError, match=f"{name} works on the whole volume, not slab by slab"):
            slab_solver(MethodParameters(name), GEOMETRY)
    else:
        solver = slab_solver(MethodParameters(name, levels=(0.0, 1.0)), GEOMETRY)
        assert isinstance(solver, SlabSolver) and solver.iterative == method.is_iterative


def test_options_know_their_methods() -> None:
    assert OWNERS["window"] == ("fbp",)
    assert OWNERS["mask"] == ("sirt", "fista", "resire") == methods_with("mask")
    assert set(OWNERS["kernel"]) == set(METHODS) - {"fbp", "multislice"}
    assert OWNERS["kv"] == OWNERS["vacuum"] == OWNERS["binned_slices"] == ("multislice",)


def test_the_names_are_those_that_the_solvers_know() -> None:
    assert set(FILTERS) == set(WINDOWS)
    assert set(PRIORS) == set(HELD)
    for name in (*FILTERS, "sirt-like:30", "hamming-like:.3"):
        assert is_filter(name) and callable(window_of(name))
    for name in ("hann2", "sirt-like", "sirt-like:", "hamming-like:3", "radial"):
        assert not is_filter(name)
        with pytest.raises(UsageError, match="no filter named"):
            window_of(name)


def test_the_registry_needs_nothing_heavy() -> None:
    program = "import sys, etcli.core.solvers.methods; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_parameters_take_the_method_s_defaults() -> None:
    assert MethodParameters().iterations == 30
    assert MethodParameters("resire").lower == 0 and MethodParameters("sirt").lower == -math.inf
    assert MethodParameters("resire", lower=0.5).lower == 0.5
    assert MethodParameters("sart").subset_size == 1 and MethodParameters("multislice").subset_size == 2
    with pytest.raises(UsageError, match=r"no method named 'sirtt'; use sirt, sart, .* multislice$"):
        MethodParameters("sirtt")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"refine": ("focus",)}, "no parameter to refine named 'focus'; use shifts, defocus, rotation"),
        ({"subset_size": -1}, "subset_size -1 makes no sense; use 0 or more"),
        ({"binned_slices": 0}, "binned_slices 0 makes no sense; use 1 or more"),
        ({"binned_slices": 2.5}, "binned_slices 2.5 is not a whole number"),
        ({"seed": -2}, "seed -2 makes no sense"),
    ],
)
def test_impossible_parameters_are_refused(given: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MethodParameters("multislice", **given)


@pytest.mark.parametrize(
    ("parameters", "summary", "assumptions"),
    [
        (MethodParameters("sirt", lower=0.0), "SIRT 30, nonnegative", {}),
        (MethodParameters("sart", subset_size=6, upper=2.0), "SART 10 subsets of 6, up to 2", {}),
        (MethodParameters("resire"), "RESIRE 100", {}),
        (MethodParameters("fbp", window="hann"), "FBP hann", {}),
        (MethodParameters("bp"), "BP", {}),
        (MethodParameters("fista", weight=0.12345), "FISTA 40 tv 0.123", {"prior": "tv", "weight": 0.12345}),
        (MethodParameters("fista", prior="none"), "FISTA 40 none", {"prior": "none", "weight": 0.0}),
        (
            MethodParameters("multislice", weight_from_noise=True, refine=("shifts", "defocus")),
            "MULTISLICE 20 tv auto",
            {"prior": "tv", "weight": 0.0},
        ),
        (
            MethodParameters("multislice", weight=0.5127, weight_from_noise=True),
            "MULTISLICE 20 tv auto 0.513",
            {"prior": "tv", "weight": 0.5127},
        ),
        (
            MethodParameters("multislice", prior="none", binned_slices=4, subset_size=1),
            "MULTISLICE 20 subsets of 1 none",
            {"prior": "none", "weight": 0.0},
        ),
        (MethodParameters("dart", levels=(0.0, 1.5)), "DART 40 of 0 1.5", {"levels": (0.0, 1.5)}),
    ],
)
def test_the_history_says_what_was_done(parameters, summary: str, assumptions) -> None:
    assert parameters.summary() == summary
    assert parameters.assumptions() == assumptions
