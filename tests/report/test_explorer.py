import html
import json
import math
import re

import pytest
from scipy.stats import norm
from simulated_run import part_of_the_run, simulated_run, with_canaries

from dpbench.report import charts
from dpbench.report.explorer import embedded, knowledge
from dpbench.report.page import HEADLINE, Drawing, page
from dpbench.report.palette import DARK, contrast, looks, on_dark
from dpbench.report.results import tables

HOSTILE = "</script><!--<script>alert('x')</script>\u2028\"\\ 日本"
STILL = Drawing(HEADLINE, "title", "caption", b"<svg/>", "svg+xml")


@pytest.fixture(scope="module")
def known(run):
    changed = with_canaries(run)
    return changed, knowledge(changed, tables(changed))


def fields(specification):
    """Every field that a specification reads."""
    found = set()
    if isinstance(specification, dict):
        if isinstance(specification.get("field"), str):
            found.add(specification["field"])
        for value in specification.values():
            found |= fields(value)
    if isinstance(specification, list):
        for value in specification:
            found |= fields(value)
    return found


def test_every_number_of_the_tables_is_there(known):
    run, values = known
    read = tables(run)
    cells = {cell["cell"]: cell for cell in values["cells"]}
    assert set(cells) == set(run.cells["cell"])
    labels = [label for label, _ in values["attacks"]]
    for _, row in read.attacks[read.attacks["status"] == "done"].iterrows():
        (own,) = (
            leaks
            for index, knows, _, leaks, _ in cells[row["cell"]]["attacks"]
            if labels[index] == row["label"] and knows == row["knowledge"]
        )
        assert own["average"]["advantage"] == [
            round(row[f"advantage{end}"], 6) for end in ("", "_low", "_high")
        ]
        assert own["canary"]["tpr_at_fpr_0.001"][0] == round(row["canary_tpr_at_fpr_0.001"], 6)


def test_a_cell_without_numbers_has_its_reason(known):
    _, values = known
    (failed,) = (cell for cell in values["cells"] if cell["cell"] == "selena")
    assert failed["status"] == "failed"
    assert "diverged" in failed["reason"]
    assert failed["accuracy"] == {"average": None, "canary": None}
    assert failed["curves"] == {}
    masked = next(cell for cell in values["cells"] if cell["cell"] == "label_only")
    reasons = {reason for _, _, reason, leaks, _ in masked["attacks"] if not leaks.get("average")}
    assert reasons == {"the cell releases labels only"}


def test_limits_are_the_mechanisms(known):
    run, values = known
    cells = {cell["cell"]: cell for cell in values["cells"]}
    assert cells["none"]["limits"] == {"average": {}, "canary": {}}
    limits = cells["dp_sgd(epsilon=4)"]["limits"]["average"]
    assert limits["advantage"] == pytest.approx(2 * norm.cdf(0.92 / 2) - 1, abs=1e-6)
    # Gaussian trade-off with mu 0.92: TPR 1 - cdf(cdf^-1(.99) - mu).
    assert limits["tpr_at_fpr_0.01"] == pytest.approx(0.0798, abs=1e-4)
    curve = cells["dp_sgd(epsilon=4)"]["curves"]["average"]
    assert all(limit >= fpr for fpr, limit in zip(curve["fpr"], curve["limit"], strict=True))
    assert len(curve["fpr"]) == len(curve["tpr"]) == 60
    assert run.mechanism["dp_sgd(epsilon=4)"] == 0.92


def test_curves_of_both_tracks_rise_to_one(known):
    _, values = known
    for cell in values["cells"]:
        if cell["status"] != "done":
            continue
        assert set(cell["curves"]) == {"average", "canary"}
        for curve in cell["curves"].values():
            assert curve["tpr"] == sorted(curve["tpr"])
            assert curve["fpr"][-1] == curve["tpr"][-1] == 1


def test_hostile_texts_stay_texts():
    run = simulated_run()
    for frame in (run.cells, run.attacks):
        frame["cell"] = frame["cell"].replace({"hamp": HOSTILE})
        frame["reason"] = frame["reason"].replace({"": HOSTILE})
    run.shift = {(key[0].replace("hamp", HOSTILE), *key[1:]): v for key, v in run.shift.items()}
    run.name = run.command = run.key = run.document = HOSTILE
    text = page(run, tables(run), [STILL])
    # Data, libraries and the page's own two scripts, and not one element more.
    assert len(re.findall(r"<script", text)) == text.count("</script>") == 4
    assert "alert('x')</script>" not in text
    body = re.search(r'id="report-data">(.*?)</script>', text, re.DOTALL).group(1)
    assert HOSTILE in [cell["cell"] for cell in json.loads(body)["cells"]]
    assert html.escape(HOSTILE) in text


def test_what_is_not_finite_is_no_number():
    with pytest.raises(ValueError, match="JSON"):
        embedded({"x": math.nan})
    assert json.loads(embedded({"x": "a\u2028<b"})) == {"x": "a\u2028<b"}


def test_charts_read_what_the_script_writes():
    script = charts.__file__.replace("charts.py", "explorer.js")
    with open(script, encoding="utf-8") as file:
        text = file.read()
    for rate in (False, True):
        specification = charts.scatter("title", rate=rate)
        assert "http" not in json.dumps(specification)
        for field in fields(specification):
            assert re.search(rf"\b{field}\b", text), field
    assert fields(charts.roc()) == {"curve", "fpr", "tpr", "color", "dash", "low", "high"}


def test_libraries_are_kept_and_a_home_that_cannot_be_written_to_does_not_matter(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("vl_convert.javascript_bundle", lambda snippet: "bundle")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert charts.script() == "bundle"
    monkeypatch.setattr("vl_convert.javascript_bundle", lambda snippet: "made again")
    assert charts.script() == "bundle"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert charts.script() == "made again"


def test_without_the_extra_the_page_is_still_and_says_how_to_change_that(run, monkeypatch):
    monkeypatch.setattr(charts, "find_spec", lambda name: None)
    text = page(run, tables(run), [STILL])
    assert text.count("<script") == 2, "data, and the script of leaderboard and tables"
    assert "vegaEmbed(target" not in text
    assert "pip install 'dp-defense-bench[report]'" in html.unescape(text)
    assert "data:image/svg+xml" in text


def test_colors_can_be_told_from_a_dark_page(run):
    for look in looks(tables(run).families).values():
        assert contrast(on_dark(look.color), DARK) >= 4.5
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#777777") == pytest.approx(1)
    assert on_dark("#ffffff") == "#ffffff"


def test_a_small_page_is_small():
    run = part_of_the_run(cells=("none", "dp_sgd(epsilon=4)"))
    text = embedded(knowledge(run, tables(run)))
    assert len(text.encode()) < 40_000


def test_limits_and_curves_are_those_of_their_track(run):
    """A batch of the same size is another sampling rate where another number of members trains."""
    changed = with_canaries(run)
    changed.cells["canary_epsilon"] = changed.cells["epsilon"] * 1.5
    mu = {"average": 0.92, "canary": 1.4}

    def trade_off(cell, fpr, *, track="average"):
        return norm.cdf(norm.ppf(fpr) + mu[track]) if cell == "dp_sgd(epsilon=4)" else None

    changed.trade_off = trade_off
    cells = {one["cell"]: one for one in knowledge(changed, tables(changed))["cells"]}
    found = cells["dp_sgd(epsilon=4)"]
    for track, size in mu.items():
        wanted = norm.cdf(norm.ppf(0.01) + size)
        assert found["limits"][track]["tpr_at_fpr_0.01"] == pytest.approx(wanted, abs=1e-6)
        curve = found["curves"][track]
        wanted = [norm.cdf(norm.ppf(fpr) + size) for fpr in curve["fpr"]]
        assert curve["limit"] == pytest.approx(wanted, abs=2e-4, rel=1e-2)
    assert found["epsilon"] == {"average": "4", "canary": "6"}
    assert "on the canary track ε = 6" in dict(found["facts"])["guarantee"]
