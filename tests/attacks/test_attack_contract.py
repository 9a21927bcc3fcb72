"""Every attack keeps the contract that other people's attacks are held to."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from views import random_outputs, view_of

import dpbench.attacks
from dpbench.attacks import Gap, GradientNorm, Lira, Malt, Mast, Matt, NoiseRobustness
from dpbench.component import REGISTRIES
from dpbench.testing import check_attack

ATTACKS = [
    Gap(),
    Malt(),
    Mast(),
    Lira(),
    Lira(variance="per_example"),
    Lira(mode="offline"),
    Lira(mode="offline", variance="per_example"),
    Lira(queries=2),
    NoiseRobustness(),
    NoiseRobustness(copies=3, scale=0.3, flip_probability=0.2),
    GradientNorm(),
    GradientNorm(of="inputs"),
    GradientNorm(calibration="global"),
    Matt(),
    Matt(origin="shadows"),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_contract(attack):
    check_attack(attack)


def test_every_attack_is_registered_exported_checked_and_documented():
    ours = {n: c for n, c in REGISTRIES["attack"].items() if c.__module__.startswith("dpbench.")}
    assert {"gap", "malt", "mast", "lira", "noise_robustness", "gradient_norm", "matt"} <= set(ours)
    assert {type(attack) for attack in ATTACKS} == set(ours.values())
    pages = Path(__file__).parents[2] / "docs" / "attacks"
    for name, attack in ours.items():
        assert getattr(dpbench.attacks, attack.__name__) is attack
        assert (pages / f"{name}.md").is_file()


def test_attacks_and_their_check_need_no_torch():
    code = "import sys, dpbench.attacks, dpbench.testing; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_attacks_take_time_linear_in_the_models():
    outputs, labels, members = random_outputs(0, 64, 1000, 10)
    view = view_of(outputs.astype(np.float32), labels, members)
    started = time.perf_counter()
    Lira().score(view)
    # About 0.02 s; a loop over (target, shadow) pairs would take seconds.
    assert time.perf_counter() - started < 1.0
