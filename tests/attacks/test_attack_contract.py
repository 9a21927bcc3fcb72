"""Every attack keeps the contract that other people's attacks are held to."""

import subprocess
import sys
from pathlib import Path

import pytest

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
    pages = Path(__file__).parents[2] / "docs" / "attacks"
    texts = [file.read_text() for file in Path(__file__).parent.glob("test_*.py")]
    checked = "\n".join(text for text in texts if "check_attack(" in text)
    for name, attack in ours.items():
        assert getattr(dpbench.attacks, attack.__name__) is attack
        assert (pages / f"{name}.md").is_file()
        assert f"{attack.__name__}(" in checked


def test_attacks_and_their_check_need_no_torch():
    code = "import sys, dpbench.attacks, dpbench.testing; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
