import math

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from simulated_run import EPSILON_OF_MU, part_of_the_run, simulated_run, with_canaries

from dpbench.component import REGISTRIES
from dpbench.errors import UserError
from dpbench.privacy import advantage_epsilon as advantage_from_epsilon
from dpbench.report.advantage_epsilon import FLOOR, advantage_epsilon, share_closed
from dpbench.report.average_canary import average_canary
from dpbench.report.canvas import canvas, drawable, png_bytes, svg_bytes
from dpbench.report.groups import GROUPS, MANY, OTHERS, group_of
from dpbench.report.heatmap import _clustered, heatmap
from dpbench.report.labels import Label, place_labels
from dpbench.report.palette import DP_SGD, looks
from dpbench.report.results import tables
from dpbench.report.roc import FLOOR as ROC_FLOOR
from dpbench.report.roc import roc, vertices
from dpbench.report.static_adaptive import static_adaptive
from dpbench.report.utility_privacy import utility_privacy


def marked(axes):
    """The lines that carry the cells' own markers, by colour and marker."""
    lines = [container[0] for container in axes.containers]
    return {(to_hex(line.get_color()), line.get_marker()): line for line in lines}


@pytest.fixture(scope="module")
def headline(run):
    return utility_privacy(run).axes[0]


def test_headline_draws_every_cell_at_its_numbers(run, headline):
    points = tables(run).points.dropna(subset=["advantage"])
    drawn = {
        (round(float(x), 9), round(float(y), 9))
        for line in marked(headline).values()
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }
    wanted = points[["test_accuracy", "advantage"]].round(9).itertuples(index=False, name=None)
    assert set(wanted) == drawn


def test_headline_joins_dp_sgd_in_the_order_of_epsilon(run, headline):
    cells = run.cells[run.cells["defense"] == "dp_sgd"].sort_values("epsilon")
    joined = [
        line
        for line in headline.lines
        if line.get_linestyle() == "-" and len(line.get_xdata()) == 8
    ]
    np.testing.assert_array_equal(joined[0].get_xdata(), cells["test_accuracy"])
    assert to_hex(joined[0].get_color()) == DP_SGD.lower()


def test_headline_draws_each_bound_where_it_is_or_at_the_edge(run, headline):
    top = headline.get_ylim()[1]
    dashes = {
        (
            round(float(line.get_xdata()[0]), 6),
            round(float(line.get_ydata()[0]), 6),
            line.get_marker(),
        )
        for line in headline.lines
        if line.get_marker() in ("_", "^")
    }
    for row in run.cells[np.isfinite(run.cells["epsilon"])].itertuples():
        if row.status != "done":
            continue
        bound = row.bound_advantage_mechanism
        mark = (bound, "_") if bound < top else (top, "^")
        assert (round(row.test_accuracy, 6), round(mark[0], 6), mark[1]) in dashes
    assert not any(x == 0.811 for x, _, _ in dashes), "clipping alone has no bound"


def test_headline_writes_the_epsilon_of_each_bound_above_the_chart(run, headline):
    top = headline.get_ylim()[1]
    points = tables(run).points
    beyond = points[np.isfinite(points["epsilon"]) & (points["bound_advantage_mechanism"] >= top)]
    written = "\n".join(text.get_text() for text in headline.texts if text.get_rotation() == 90)
    assert len(beyond) > 1
    for row in beyond.itertuples():
        assert f"ε={row.epsilon:g}: {row.bound_advantage_mechanism:.2f}" in written
    edges = [x for x in headline.lines if x.get_marker() == "^" and not x.get_clip_on()]
    assert {float(line.get_ydata()[0]) for line in edges} == {top}, "the edge, no cell's value"
    stems = [line for line in headline.lines if line.get_linestyle() == ":"]
    for row in beyond.itertuples():
        ends = [line.get_ydata() for line in stems if line.get_xdata()[0] == row.test_accuracy]
        assert [row.advantage, top] in [list(end) for end in ends]


def menu():
    """The simulated run with a cell of every family that we ship."""
    run = simulated_run()
    plain = run.cells[run.cells["cell"] == "hamp"]
    rows = run.attacks[run.attacks["cell"] == "hamp"]
    names = [name for names in GROUPS.values() for name in names]
    new = [name for name in names if name not in set(run.cells["defense"])]
    accuracy = np.linspace(0.55, 0.82, len(new))
    cells = [
        plain.assign(cell=name, defense=name, test_accuracy=at, test_accuracy_low=at - 0.004)
        for name, at in zip(new, accuracy, strict=True)
    ]
    run.cells = pd.concat([run.cells, *cells], ignore_index=True)
    run.attacks = pd.concat([run.attacks, *(rows.assign(cell=name) for name in new)])
    return run


def test_a_menu_is_drawn_by_kinds_and_its_crowd_is_enlarged():
    run = menu()
    every, enlarged = utility_privacy(run).axes
    points = tables(run).points.dropna(subset=["advantage"])
    near = points[points["test_accuracy"] >= 0.823 - 0.05]
    for axes, wanted in ((every, points), (enlarged, near)):
        xs = np.concatenate([container[0].get_xdata() for container in axes.containers])
        np.testing.assert_allclose(np.sort(xs), np.sort(wanted["test_accuracy"]))
    texts = [text.get_text() for text in enlarged.get_legend().get_texts()]
    kinds = [text.partition(" (")[0] for text in texts if "famil" in text]
    assert kinds == list(GROUPS)
    grey = [c[0] for c in every.containers if to_hex(c[0].get_color()) == "#b4b4b4"]
    outdone = np.concatenate([line.get_xdata() for line in grey])
    # `hamp` and its copies leak the same: of the kind, the most accurate alone has a colour.
    kind = points[points["defense"].isin(GROUPS["training against attacks"])]
    assert len(kind) == 5
    assert set(kind["test_accuracy"].nsmallest(4)) <= set(outdone)
    assert kind["test_accuracy"].max() not in set(outdone)


def test_headline_intervals_reach_from_low_to_high(run, headline):
    point = tables(run).points.set_index("cell").loc["none"]
    ends = [
        path.vertices[:, 1]
        for container in headline.containers
        for bars in container[2]
        for path in bars.get_paths()
        if np.ptp(path.vertices[:, 1]) > 0
    ]
    wanted = [point["advantage_low"], point["advantage_high"]]
    assert any(np.allclose(end, wanted) for end in ends)


def test_headline_labels_every_epsilon_and_no_two_overlap(headline):
    figure = headline.figure
    figure.draw_without_rendering()
    written = [text for text in headline.texts if text.get_text() != "better ↘"]
    texts = [text.get_text() for text in written]
    assert {f"ε={epsilon:g}" for epsilon in EPSILON_OF_MU} <= set(texts)
    assert "ε=∞ (clip only)" in texts
    assert any(text.startswith("undefended") for text in texts)
    boxes = [text.get_window_extent() for text in written]
    overlaps = [
        (a.get_text(), b.get_text())
        for i, (a, box) in enumerate(zip(written, boxes, strict=True))
        for b, other in zip(written[i + 1 :], boxes[i + 1 :], strict=True)
        if box.overlaps(other)
    ]
    assert overlaps == []


def test_headline_marks_violations_and_counts_missing_cells():
    run = simulated_run()
    best = (run.attacks["cell"] == "dp_sgd(epsilon=1)") & (run.attacks["attack"] == "best")
    run.attacks.loc[best, "violates_bound"] = True
    figure = utility_privacy(run)
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "violates its bound" in texts
    assert "(1 cell without numbers: see table)" in texts


def test_every_figure_prints_the_command_and_the_key():
    run = part_of_the_run()
    for draw in (utility_privacy, advantage_epsilon, roc, heatmap, static_adaptive):
        note = draw(run).get_supxlabel()
        assert run.command in note
        assert run.key[:16] in note
        assert f"grid {run.name}" in note


def test_a_family_has_one_colour_in_all_figures(run):
    families = tables(run).families
    look = looks(families)
    assert len({(one.color, one.marker) for one in look.values()}) == len(families)
    axes = static_adaptive(run).axes[0]
    names = {label.get_text(): to_hex(label.get_color()) for label in axes.get_yticklabels()}
    rows = {
        label.get_text(): to_hex(label.get_color())
        for label in heatmap(run).axes[0].get_yticklabels()
    }
    assert names["hamp"] == rows["hamp"] == look["hamp"].ink
    assert (look["hamp"].color.lower(), look["hamp"].marker) in marked(utility_privacy(run).axes[0])


def test_looks_stay_apart_until_there_are_too_many():
    families = ["none", "dp_sgd", *(f"f{i}" for i in range(MANY - 1))]
    assert len({(one.color, one.marker) for one in looks(families).values()}) == len(families)


def test_many_families_are_told_apart_by_their_kind():
    ours = [name for names in GROUPS.values() for name in names]
    look = looks(["none", *ours, "mine"])
    kinds = {group_of(name): one for name, one in look.items()}
    assert len(set(kinds.values())) == len(GROUPS) + 2
    assert all(one == kinds[group_of(name)] for name, one in look.items())
    assert look["dp_sgd"].color == DP_SGD


def test_every_defense_has_a_kind():
    kinds = {name: group_of(name) for name in REGISTRIES["defense"] if name != "none"}
    ours = {
        name
        for name, one in kinds.items()
        if REGISTRIES["defense"][name].__module__.startswith("dpbench.")
    }
    assert {name for name in ours if kinds[name] == OTHERS} == set()
    assert group_of("l2+label_only") == group_of("label_only")
    assert group_of("transfer+dp_sgd") == group_of("dp_sgd")
    assert group_of("a_users_own") == OTHERS


def test_epsilon_figure_draws_the_four_bounds_up_to_one(run):
    axes = advantage_epsilon(run).axes[0]
    curves = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    pure, yeom = (
        next(line for label, line in curves.items() if label.startswith(start))
        for start in ("accuracy", "e^ε")
    )
    np.testing.assert_allclose(pure.get_ydata(), yeom.get_ydata())
    np.testing.assert_allclose(yeom.get_ydata()[:-1], np.expm1(yeom.get_xdata()[:-1]))
    assert yeom.get_xdata()[-2] < math.log(2) < yeom.get_xdata()[-1] * 1.02
    tight = next(line for label, line in curves.items() if label.startswith("(e^ε"))
    np.testing.assert_allclose(
        tight.get_ydata(), advantage_from_epsilon(tight.get_xdata(), 1e-5), rtol=1e-9
    )
    own = next(line for label, line in curves.items() if label.startswith("the mechanism"))
    cells = run.cells[np.isfinite(run.cells["epsilon"])].sort_values("epsilon")
    np.testing.assert_array_equal(own.get_ydata(), cells["bound_advantage_mechanism"])
    assert max(line.get_ydata().max() for line in (pure, yeom, tight, own)) <= 1


def test_epsilon_figure_puts_infinity_beyond_a_break(run):
    axes = advantage_epsilon(run).axes[0]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels[-1] == "∞\nclip only"
    ticks = axes.get_xticks()
    assert ticks[-1] > 1.9 * ticks[-2]
    assert "//" in [text.get_text() for text in axes.texts]
    (axes,) = advantage_epsilon(part_of_the_run(cells=["none", "dp_sgd(epsilon=4)"])).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["4"]
    assert "//" not in [text.get_text() for text in axes.texts]


def test_epsilon_figure_writes_the_share_of_the_gap_that_the_mechanism_closes(run):
    shares = share_closed(tables(run))
    row = tables(run).points.query("cell == 'dp_sgd(epsilon=4)'").iloc[0]
    removed = row["bound_advantage_epsilon"] - row["bound_advantage_mechanism"]
    expected = removed / (row["bound_advantage_epsilon"] - row["advantage"])
    assert shares[4.0] == pytest.approx(expected)
    written = [text.get_text() for text in advantage_epsilon(run).axes[0].texts]
    assert f"{expected:.0%}" in written
    legend = [text.get_text() for text in advantage_epsilon(run).axes[0].get_legend().get_texts()]
    assert any(text.startswith(f"{shares.iloc[0]:.0%}: share of the gap") for text in legend)
    on_canaries = share_closed(tables(with_canaries(run)))
    assert (on_canaries > shares).all(), "the harder examples leave less of a gap"


def test_epsilon_figure_draws_lira_and_labels_and_the_others_faintly(run):
    axes = advantage_epsilon(run).axes[0]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "the best LiRA:\nlira (online, per_example)" in legend
    assert "the best that sees labels alone:\nnoise_robustness" in legend
    assert "6 other attacks" in legend
    faint = [line for line in axes.lines if to_hex(line.get_color()) == "#c8c8c8"]
    assert len(faint) == 24, "a line and a dot for both kinds of knowledge"


def test_canaries_are_compared_with_the_bounds_of_their_own_track(run):
    changed = with_canaries(run)
    cell = changed.cells["cell"] == "dp_sgd(epsilon=4)"
    changed.cells["canary_epsilon"] = changed.cells["epsilon"]
    changed.cells.loc[cell, ["canary_epsilon", "canary_bound_advantage_mechanism"]] = 6.0, 0.55
    row = tables(changed).points.query("cell == 'dp_sgd(epsilon=4)'").iloc[0]
    loose = advantage_from_epsilon(6.0, 1e-5)
    wanted = (loose - 0.55) / (loose - row["canary_advantage"])
    assert share_closed(tables(changed))[4.0] == pytest.approx(wanted)
    axes = advantage_epsilon(changed).axes[0]
    own = next(
        line for line in axes.lines if line.get_label() == "the same on canaries, at their ε"
    )
    assert (6.0, 0.55) in set(zip(own.get_xdata(), own.get_ydata(), strict=True))
    best = next(
        line for line in axes.lines if line.get_marker() == "D" and 6.0 in list(line.get_xdata())
    )
    assert best.get_ydata()[list(best.get_xdata()).index(6.0)] == row["canary_advantage"]


def test_canaries_are_drawn_beside_the_average_case(run):
    changed = with_canaries(run)
    axes = average_canary(changed).axes[0]
    average, canary = (points.get_offsets()[:, 0] for points in axes.collections[-3:][::2])
    names = [label.get_text() for label in axes.get_yticklabels()]
    best = tables(changed).points.set_index("cell")
    for name, x, other in zip(names, average, canary, strict=True):
        assert x == pytest.approx(max(best.loc[name, "tpr_at_fpr_0.001"], 1e-4))
        assert other == pytest.approx(best.loc[name, "canary_tpr_at_fpr_0.001"])
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["ordinary examples", "mislabelled canaries"]
    legend = advantage_epsilon(changed).axes[0].get_legend().get_texts()
    assert "best attack on canaries" in [text.get_text() for text in legend]


def test_epsilon_figure_puts_negative_advantages_on_the_floor():
    run = simulated_run()
    weak = run.attacks["attack"] == "noise_robustness"
    row = (run.attacks["cell"] == "dp_sgd(epsilon=1)") & weak
    run.attacks.loc[row, ["advantage", "advantage_low"]] = -0.004, -0.01
    axes = advantage_epsilon(run).axes[0]
    floored = [
        line
        for line in axes.lines
        if line.get_marker() == "v" and line.get_fillstyle() == "none" and len(line.get_xdata())
    ]
    assert len(floored) == 2, "one for the adaptive and one for the static attack"
    assert all(line.get_ydata()[0] == FLOOR for line in floored)


def test_roc_draws_undefended_three_epsilons_and_a_heuristic(run):
    axes = roc(run).axes[0]
    texts = [text.get_text().split("\n")[0] for text in axes.get_legend().get_texts()]
    assert texts[:4] == ["undefended", "dp_sgd ε=0.5", "dp_sgd ε=4", "dp_sgd ε=32"]
    assert texts[4] == "l2(weight_decay=0.01)+label_only"
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert len(dashed) == 3
    np.testing.assert_allclose(
        dashed[0].get_ydata(), run.trade_off("dp_sgd(epsilon=0.5)", dashed[0].get_xdata())
    )


def test_roc_vertices_guess_ties_at_random():
    """The largest TPR at an FPR, when some of the scores that tie at the threshold are drawn."""
    rng = np.random.default_rng(4)
    members = rng.random((5, 300)) < 0.5
    scores = np.round(rng.normal(size=members.shape) + members, 1)  # many ties
    fpr, tpr = vertices(scores, members)
    outside, inside = scores[~members], scores[members]
    assert fpr[0] == max(ROC_FLOOR, 1 / len(outside))
    for rate, found in zip(fpr, tpr, strict=True):
        for threshold in np.unique(scores)[::-1]:
            sure, tied = (outside > threshold).mean(), (outside == threshold).mean()
            if sure + tied >= rate - 1e-12 and tied > 0:
                share = min((rate - sure) / tied, 1.0)
                break
        wanted = (inside > threshold).mean() + share * (inside == threshold).mean()
        higher = [t for t in np.unique(scores) if (outside >= t).mean() <= rate + 1e-12]
        wanted = max([wanted, *((inside >= t).mean() for t in higher)])
        assert found == pytest.approx(wanted, abs=1e-9)


def test_a_masked_cells_curve_has_no_jump():
    """Two scores make one corner; before it a chord through the origin, of slope 1 on log axes."""
    members = np.arange(4000).reshape(4, 1000) % 2 == 0
    scores = np.where(members, np.arange(4000).reshape(4, 1000) % 5 > 0, False).astype(float)
    scores[~members] = np.arange(2000) % 10 == 0
    fpr, tpr = vertices(scores, members)
    before = fpr < 0.1
    np.testing.assert_allclose(tpr[before] / fpr[before], tpr[0] / fpr[0])
    assert np.diff(np.log(tpr[before])).max() < 0.05
    assert tpr[fpr == 0.1] == pytest.approx(scores[members].mean())


def test_roc_stays_inside_what_few_scores_resolve():
    run = simulated_run()
    run.models, run.pool = 4, 100
    axes = roc(run).axes[0]
    curves = [line for line in axes.lines if line.get_zorder() == 4]
    assert curves
    assert all(line.get_xdata()[0] >= 1 / 400 for line in curves)


def test_roc_is_left_out_where_only_tables_were_published(monkeypatch):
    def no_scores(*_, **__):
        raise UserError("no scores here")

    run = part_of_the_run()
    monkeypatch.setattr(run, "scores", no_scores)
    assert roc(run) is None


def heat_texts(axes, run):
    cells = tables(run).cells["cell"].tolist()
    names = [label.get_text() for label in axes.get_xticklabels()]
    return {
        (cells[int(text.get_position()[1])], names[int(text.get_position()[0])]): text.get_text()
        for text in axes.texts
    }


def test_heatmap_writes_values_failures_and_gaps():
    run = simulated_run()
    dropped = (run.attacks["cell"] == "hamp") & (run.attacks["knowledge"] == "adaptive")
    run.attacks = run.attacks[~dropped].copy()
    run.attacks.loc[run.attacks["cell"] == "none", "tpr_at_fpr_0.001"] = math.nan
    advantage, tpr = heatmap(run).axes
    texts = heat_texts(advantage, run)
    row = run.attacks.query("cell == 'none' and attack == 'gap' and knowledge == 'adaptive'").iloc[
        0
    ]
    assert texts["none", "gap"] == f"{row['advantage']:.2f}"
    assert texts["selena", "gap"] == "failed"
    assert texts["label_only", "malt"] == "–"
    assert texts["hamp", "rmia"].startswith("(0.")
    assert heat_texts(tpr, run)["none", "gap"] == "n.r."
    hatched = [patch for patch in advantage.patches if patch.get_hatch()]
    assert len(hatched) == 8, "every attack on the failed cell"


def test_heatmap_shows_eight_of_many_attacks_and_keeps_who_finds_most():
    run = simulated_run()
    weak = run.attacks[run.attacks["attack"] == "gap"].copy()
    more = [weak.assign(attack=f"weak_{i}", advantage=weak["advantage"] / 9) for i in range(9)]
    run.attacks = pd.concat([run.attacks, *more])
    first, second = heatmap(run).axes
    names = [label.get_text() for label in first.get_xticklabels()]
    assert len(names) == 8
    assert {"lira (online, per_example)", "noise_robustness"} < set(names), "the latter on labels"
    assert not any(name.startswith("weak") for name in names[:-1])
    assert first.get_position().y0 == second.get_position().y0
    assert "page's table" in " ".join(heatmap(run).get_supxlabel().split())


def test_heatmap_puts_attacks_that_find_alike_side_by_side():
    shape = np.array([[0.1, 0.5, 0.12, 0.52], [0.5, 0.1, 0.51, 0.1], [0.3, 0.2, 0.3, 0.2]])
    order = _clustered(pd.DataFrame(shape, columns=list("abcd")))
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset("ac"), frozenset("bd")}


def test_static_and_adaptive_are_drawn_in_pairs(run):
    axes = static_adaptive(run).axes[0]
    static, adaptive = (collection.get_offsets()[:, 0] for collection in axes.collections[-3:][::2])
    names = [label.get_text() for label in axes.get_yticklabels()]
    gained = dict(zip(names, np.asarray(adaptive - static), strict=True))
    assert gained["temperature(t=20)"] > 0.15
    assert abs(gained["dp_sgd(epsilon=0.5)"]) < 0.02
    assert "selena" not in names


def test_figures_without_their_data_are_none():
    empty = part_of_the_run(cells=["selena"])
    for draw in (utility_privacy, advantage_epsilon, roc, heatmap, static_adaptive, average_canary):
        assert draw(empty) is None
    assert advantage_epsilon(part_of_the_run(cells=["none", "l2(weight_decay=0.01)"])) is None


def test_figures_leave_no_trace_in_global_state(run):
    before = dict(mpl.rcParams)
    svg_bytes(utility_privacy(run))
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []


def test_a_users_own_style_changes_nothing():
    run = part_of_the_run()
    plain = png_bytes(static_adaptive(run))
    with mpl.rc_context({"font.size": 20, "lines.linewidth": 9, "axes.facecolor": "red"}):
        assert png_bytes(static_adaptive(run)) == plain


def test_dollar_signs_and_unknown_glyphs_are_text():
    assert drawable("a\x07b\u4e2d") == "a?b?"
    assert drawable("x" * 50, limit=10) == "x" * 9 + "…"
    run = part_of_the_run(cells=("none", "hamp"))
    for frame in (run.cells, run.attacks):
        frame["cell"] = frame["cell"].replace({"hamp": "ha$m_p$ \u4e2d <b>"})
        if "defense" in frame:
            frame["defense"] = frame["defense"].replace({"hamp": "ha$m_p$"})
    run.shift = {
        (key[0].replace("hamp", "ha$m_p$ \u4e2d <b>"), *key[1:]): v for key, v in run.shift.items()
    }
    assert b"<svg" in svg_bytes(utility_privacy(run))
    assert b"<svg" in svg_bytes(heatmap(run))


def test_labels_avoid_points_and_optional_ones_give_way(run):
    _, (axes,) = canvas(run, "", size=(4, 3))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    wall = np.stack(np.meshgrid(np.linspace(0, 1, 60), np.linspace(0, 1, 60)), -1).reshape(-1, 2)
    wanted = [
        Label(0.5, 0.5, "needed", "black"),
        Label(0.5, 0.5, "optional", "black", required=False),
    ]
    assert [text.get_text() for text in place_labels(axes, wanted, around=wall)] == ["needed"]
    free = place_labels(axes, wanted[:1], around=np.array([[0.6, 0.5]]))[0]
    box = free.get_window_extent()
    assert not box.contains(*axes.transData.transform((0.6, 0.5)))
