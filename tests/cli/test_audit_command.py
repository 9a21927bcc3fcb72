import csv
import io
import json
import zipfile

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from dpbench.audit.metrics import pair_metrics
from dpbench.audit.rows import AuditRow
from dpbench.audit.score_file import audit_rows
from dpbench.cli.audit import audit
from dpbench.errors import UserError
from dpbench.privacy.audits.canaries import OneRun
from dpbench.privacy.audits.clopper_pearson import audit_clopper_pearson
from dpbench.privacy.audits.one_run import audit_one_run
from dpbench.privacy.audits.score_file import ScoreFile
from dpbench.privacy.audits.trials import Trials

app = typer.Typer()
app.command()(audit)

TRIAL_METHODS = ["Clopper-Pearson", "Gaussian DP", "Bayesian (credible)", "Katz-log (approximate)"]


def leaking(shape, seed=0):
    rng = np.random.default_rng(seed)
    members = rng.random(shape) < 0.5
    return rng.standard_normal(shape) + 2 * members, members


def written(folder, **arrays):
    path = folder / "scores.npz"
    np.savez(path, **arrays)
    return path


def data(shape, delta=1e-5, seed=0):
    scores, members = leaking(shape, seed)
    return ScoreFile(scores=scores, members=members, delta=delta)


def epsilons(rows):
    return {row.name: row for row in rows if row.kind == "epsilon"}


def test_a_file_of_any_number_type_is_read(tmp_path):
    scores, members = leaking(50)
    path = written(tmp_path, scores=scores.astype(np.float32), members=members.astype(np.uint8))
    found = ScoreFile.read(path)
    assert found.delta == 0
    assert found.members.dtype == bool
    assert found.scores.dtype == np.float64
    assert np.array_equal(found.members, members)
    scores[0] = -np.inf
    path = written(tmp_path, scores=scores, members=members, delta=1e-5, other="text")
    assert ScoreFile.read(path).delta == 1e-5
    assert ScoreFile.read(path).at(0.1).delta == 0.1
    assert ScoreFile.read(path).at(None).delta == 1e-5


ok = {"scores": np.arange(6.0), "members": np.arange(6) % 2}
BAD = {
    "no-scores": ({"members": ok["members"]}, "no array 'scores', only members"),
    "no-members": ({"score": ok["scores"], "scores": ok["scores"]}, "no array 'members'"),
    "nothing": ({}, "no array 'scores', only nothing"),
    "nan": ({**ok, "scores": np.array([0, np.nan, 1, 2, 3, 4])}, "scores has 1 NaN among 6"),
    "shape": ({**ok, "scores": np.arange(5.0)}, r"members has shape \(6,\), but scores \(5,\)"),
    "dimensions": ({"scores": np.zeros((2, 2, 2)), "members": np.zeros((2, 2, 2))}, r"\(2, 2, 2\)"),
    "scalar": ({"scores": np.float64(1), "members": np.float64(1)}, r"shape \(\)"),
    "too-few": ({"scores": np.ones(1), "members": np.ones(1)}, r"shape \(1,\)"),
    "bits": ({**ok, "members": np.arange(6)}, "members has 2, which is no membership bit"),
    "signs": ({**ok, "members": np.array([-1, 1, 1, -1, 1, 1])}, "members has -1"),
    "bit-nan": ({**ok, "members": np.array([np.nan, 1, 0, 0, 1, 1])}, "members has nan"),
    "only-members": ({**ok, "members": np.ones(6)}, "members has only members"),
    "only-others": ({**ok, "members": np.zeros(6)}, "members has only non-members"),
    "text": ({**ok, "scores": np.array(list("abcdef"))}, "scores has type <U1"),
    "objects": ({**ok, "scores": np.array([{}] * 6)}, "scores holds Python objects"),
    "delta-1": ({**ok, "delta": 1.0}, r"delta is 1\.0"),
    "delta-negative": ({**ok, "delta": -0.1}, r"delta is -0\.1"),
    "delta-nan": ({**ok, "delta": np.nan}, "delta is nan"),
    "delta-many": ({**ok, "delta": np.zeros(2)}, r"delta is \[0\. 0\.\]"),
}


@pytest.mark.parametrize(("arrays", "message"), BAD.values(), ids=BAD)
def test_a_bad_array_is_named_with_its_file_and_what_is_allowed(tmp_path, arrays, message):
    path = written(tmp_path, **arrays)
    with pytest.raises(UserError, match=message) as caught:
        ScoreFile.read(path)
    assert str(path) in str(caught.value)
    assert "allowed: " in str(caught.value)


def test_what_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "scores.npz"
    for content in (b"", b"scores", b"PK\x03\x04 broken"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="this is no npz file"):
            ScoreFile.read(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(UserError, match=r"this is no npz file[\s\S]*numpy.savez"):
        ScoreFile.read(path)
    with pytest.raises(UserError, match="no such file"):
        ScoreFile.read(tmp_path / "missing.npz")
    with pytest.raises(UserError, match="no such file"):
        ScoreFile.read(tmp_path)


def test_a_damaged_array_is_refused(tmp_path):
    path = tmp_path / "scores.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("scores.npy", b"not an array")
        archive.writestr("members.npy", b"")
    with pytest.raises(UserError, match="scores cannot be read: the magic string"):
        ScoreFile.read(path)
    written(tmp_path, scores=np.arange(6.0), members=np.arange(6) % 2)
    content = bytearray(path.read_bytes())
    place = content.index(np.arange(6.0).tobytes())
    content[place] ^= 255
    path.write_bytes(content)
    with pytest.raises(UserError, match="scores cannot be read: Bad CRC"):
        ScoreFile.read(path)


def test_single_pairs_are_one_run_unless_said_otherwise():
    given = data(600)
    rows = epsilons(audit_rows(given))
    for method in TRIAL_METHODS:
        assert rows[method].value is None
        assert "--bits independent-models" in rows[method].reason
    expected = audit_one_run(OneRun.of_canaries(given.scores, given.members), delta=1e-5)
    assert rows["one-run"].value == expected.epsilon > 0.5
    assert "right, 600 canaries" in rows["one-run"].counts
    assert rows["one-run f-DP, Gaussian"].value > 0.5
    assert audit_rows(given, bits="one-run") == audit_rows(given)


def test_single_pairs_of_models_of_their_own_get_every_audit():
    given = data(600)
    rows = epsilons(audit_rows(given, bits="independent-models"))
    trials = Trials.independent(given.scores, given.members)
    assert rows["Clopper-Pearson"].value == audit_clopper_pearson(trials, delta=1e-5).epsilon
    assert all(row.value > 0 and row.assumes and not row.reason for row in rows.values())
    assert list(rows) == [*TRIAL_METHODS, "one-run", "one-run f-DP, Gaussian"]


def test_unfair_bits_leave_the_audits_of_trials():
    rng = np.random.default_rng(0)
    members = rng.random(900) < 0.8
    given = ScoreFile(scores=rng.random(900) + members, members=members, delta=0.01)
    rows = epsilons(audit_rows(given, bits="independent-models"))
    assert rows["Clopper-Pearson"].value > 1
    assert rows["one-run"].value is None
    assert "which fair coins do not give" in rows["one-run"].reason


def test_without_a_delta_a_gaussian_mechanism_cannot_be_audited():
    rows = epsilons(audit_rows(data(300, delta=0.0), bits="independent-models"))
    for name in ("Gaussian DP", "one-run f-DP, Gaussian"):
        assert rows[name].value is None
        assert "delta 0" in rows[name].reason
    assert rows["Clopper-Pearson"].value > 0


def test_models_are_taken_to_be_each_others_shadows_unless_said_otherwise():
    given = data((8, 200))
    rows = epsilons(audit_rows(given))
    for method in (*TRIAL_METHODS, "one-run, pooled", "one-run f-DP, Gaussian, pooled"):
        assert rows[method].value is None
        assert "--shadows none" in rows[method].reason
    assert rows["one-run, median of 8"].value > 0
    assert "shared shadows" in rows["one-run, all models (epsilon_lower of a run)"].assumes
    free = epsilons(audit_rows(given, shadows="none"))
    assert list(free) == list(rows)
    assert free["one-run, pooled"].value > rows["one-run, median of 8"].value
    assert all(row.value is not None for row in free.values())


@pytest.mark.parametrize("shadows", [None, "none"])
def test_no_bound_is_given_for_balanced_bits(shadows):
    rng = np.random.default_rng(0)
    members = (np.argsort(rng.random((300, 16)), axis=1) < 8).T
    given = ScoreFile(scores=members + 0.0, members=members, delta=1e-5)
    rows = epsilons(audit_rows(given, shadows=shadows))
    assert all(row.value is None for row in rows.values())
    assert "each example is in exactly 8 of the 16 models" in rows["one-run, median of 16"].reason
    name = "one-run, all models (epsilon_lower of a run)"
    assert "exactly 8 of the 16" in rows[name].reason
    if shadows == "none":
        assert "exactly 8 of the 16" in rows["Clopper-Pearson"].reason
    area = next(row for row in audit_rows(given, shadows=shadows) if row.name == "AUC")
    assert "the bits are no fair coins" in area.assumes


def test_an_option_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match=r"--bits one-run: the scores have shape \(M, n\)"):
        audit_rows(data((4, 20)), bits="one-run")
    with pytest.raises(UserError, match=r"--shadows none: the scores have shape \(k,\)"):
        audit_rows(data(20), shadows="none")


@pytest.mark.parametrize("shape", [(2,), (3, 5), (1, 40), (4, 1), (5, 2), (64, 3)], ids=str)
def test_tiny_files_get_rows_and_no_traceback(shape):
    members = np.arange(np.prod(shape)).reshape(shape) % 2 == 0
    given = ScoreFile(scores=members * 1.0, members=members, delta=1e-5)
    rows = audit_rows(given)
    assert {row.name for row in rows} >= {"AUC", "advantage", "balanced accuracy"}
    assert all((row.value is None) == bool(row.reason) for row in rows)


def test_metrics_of_pairs_are_those_of_the_roc_curve():
    given = data(4000, seed=2)
    rows = {row.name: row for row in pair_metrics(given, covers="these")}
    inside, outside = given.scores[given.members], given.scores[~given.members]
    area = (inside[:, None] > outside).mean()
    assert rows["AUC"].value == pytest.approx(area)
    cut = np.sort(outside)[::-1][outside.size // 100]
    assert rows["TPR at FPR 1 %"].value == pytest.approx((inside > cut).mean())
    # Phi(1) - Phi(-1) and Phi(2 / sqrt 2).
    assert rows["advantage"].low < 0.6827 < rows["advantage"].high
    assert rows["AUC"].low < 0.9214 < rows["AUC"].high
    half = (1 + rows["advantage"].value) / 2
    assert rows["balanced accuracy"].value == pytest.approx(half)
    assert all(row.low <= row.value <= row.high for row in rows.values())
    assert "these; bootstrap over pairs" in rows["AUC"].assumes


def test_intervals_of_pairs_cover_if_the_pairs_are_independent():
    inside = {"AUC": 0, "advantage": 0}
    for seed in range(60):
        rows = {row.name: row for row in pair_metrics(data(400, seed=seed), covers="")}
        inside["AUC"] += rows["AUC"].low < 0.92135 < rows["AUC"].high
        inside["advantage"] += rows["advantage"].low < 0.68269 < rows["advantage"].high
    # 95 % of 60 is 57; fewer than 50 has a probability of 1e-3.
    assert min(inside.values()) >= 50


def test_a_rate_too_low_to_resolve_is_said_to_be():
    rows = {row.name: row for row in pair_metrics(data(300), covers="")}
    assert rows["TPR at FPR 0.1 %"] == AuditRow(
        kind="metric",
        name="TPR at FPR 0.1 %",
        reason="not resolvable: fewer non-members than one over the FPR",
    )


def test_the_command_prints_and_writes_every_row(tmp_path):
    scores, members = leaking((4, 300))
    path = written(tmp_path, scores=scores, members=members)
    table, document = tmp_path / "rows.csv", tmp_path / "rows.json"
    options = ["--delta", "1e-5", "--csv", str(table), "--json", str(document)]
    result = CliRunner().invoke(app, [str(path), *options])
    assert result.exit_code == 0, result.output
    rows = audit_rows(ScoreFile.read(path).at(1e-5))
    found = json.loads(document.read_text())
    assert found["shape"] == [4, 300]
    assert found["delta"] == 1e-5
    assert [AuditRow(**row) for row in found["rows"]] == rows
    lines = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [line["name"] for line in lines] == [row.name for row in rows]
    for row in rows:
        assert row.name in result.stdout
    assert "not applicable: a model's scores may use" in result.stdout
    again = CliRunner().invoke(app, [str(path), *options])
    assert again.stdout == result.stdout


def test_the_command_refuses_a_bad_file_with_a_message(tmp_path):
    path = written(tmp_path, scores=np.zeros(4), members=np.arange(4))
    result = CliRunner().invoke(app, [str(path)])
    assert isinstance(result.exception, UserError)
    assert f"{path}: members has 2" in str(result.exception)
    result = CliRunner().invoke(app, [str(path), "--bits", "mine"])
    assert result.exit_code == 2
    path = written(tmp_path, scores=np.zeros(4), members=np.arange(4) % 2)
    result = CliRunner().invoke(app, [str(path), "--delta", "1"])
    assert "--delta is 1.0" in str(result.exception)
