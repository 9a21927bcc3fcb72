"""What a run says of its tracks and of itself."""

import json

import numpy as np
import pytest

from dpbench.errors import UserError
from dpbench.study import run as run_module
from dpbench.study.run import load
from tests.tiny import run_tiny

FPR = np.linspace(0.0005, 0.9995, 1000)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A batch of 16 is another share of the members on each track."""
    folder = tmp_path_factory.mktemp("tracks")
    private = {"noise_multiplier": 0.8, "batch_size": 16, "epochs": 2, "lr": 0.5}
    run_tiny(
        folder,
        defenses=["none", {"dp_sgd": private}],
        attacks=[{"lira": {"mode": "offline"}}, "lira"],
        canaries={"kind": "mislabelled", "count": 40},
    )
    return load(folder / "out")


def test_each_track_has_the_trade_off_of_its_own_sampling_rate(run):
    row = run.cells.iloc[1]
    average, canary = run.cell(row["cell"]), run.cell(row["cell"], "canary")
    assert average.sampling.rate > 1.2 * canary.sampling.rate
    limits = {
        track: run.trade_off(row["cell"], FPR, track=track) for track in ("average", "canary")
    }
    # The largest distance from the diagonal is the limit on the advantage, computed otherwise.
    for track, prefix in (("average", ""), ("canary", "canary_")):
        highest = float((limits[track] - FPR).max())
        assert highest == pytest.approx(row[f"{prefix}bound_advantage_mechanism"], abs=2e-3)
    assert (limits["average"] > limits["canary"]).all()
    np.testing.assert_array_equal(run.trade_off(row["cell"], FPR), limits["average"])
    assert run.trade_off("none", FPR, track="canary") is None
    with pytest.raises(UserError, match="track"):
        run.trade_off("none", FPR, track="worst")


def test_an_id_means_its_attack_though_it_is_the_name_of_others(run):
    for track in ("average", "canary"):
        bare, _ = run.scores("none", "lira", track=track)
        online = next(a for a in run.context.grid.attacks if a.label() == "lira")
        exact, _ = run.scores("none", "lira", params=_text(online), track=track)
        other, _ = run.scores("none", "lira(mode=offline)", track=track)
        np.testing.assert_array_equal(bare, exact)
        assert not np.array_equal(bare, other)


def _text(attack):
    return json.dumps(attack.to_json())


def test_the_command_names_a_shipped_grid_or_the_runs_own_file_and_no_folder(run, monkeypatch):
    assert run.command == "dpbench run grid.yaml"
    monkeypatch.setattr(run_module, "list_grids", lambda: {"tiny": run.folder / "grid.yaml"})
    assert run.command == "dpbench run tiny"
    other = run.folder / "other.yaml"
    other.write_text((run.folder / "grid.yaml").read_text().replace("seed: 0", "seed: 1"))
    monkeypatch.setattr(run_module, "list_grids", lambda: {"tiny": other})
    assert run.command == "dpbench run grid.yaml"
    other.write_text("name: tiny\nnonsense: 1\n")
    assert run.command == "dpbench run grid.yaml"
