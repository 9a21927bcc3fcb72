import html
import math
import re
from base64 import b64decode
from html.parser import HTMLParser
from xml.etree import ElementTree

import pandas as pd
import pytest
from simulated_run import attack_row, cell_row, part_of_the_run, simulated_run, with_canaries

from dpbench.report import render
from dpbench.report.canvas import svg_bytes
from dpbench.report.findings import findings
from dpbench.report.heatmap import heatmap
from dpbench.report.latex import escape, latex_table
from dpbench.report.main_table import interval, main_numbers, main_table
from dpbench.report.page import page
from dpbench.report.render import FIGURES
from dpbench.report.results import tables

HOSTILE = "<script>alert('x')</script>\"&amp;--> </svg> %_$#{}\\"
VOID = {"meta", "img", "br", "link", "input", "hr"}


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def page_of(run):
    """The page without figures, which are costly."""
    return page(run, tables(run), [])


def without_libraries(text):
    return re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)


def rename(run, old, new):
    run.cells["cell"] = run.cells["cell"].replace({old: new})
    run.attacks["cell"] = run.attacks["cell"].replace({old: new})
    run.shift = {(key[0].replace(old, new), *key[1:]): value for key, value in run.shift.items()}
    return run


class Balance(HTMLParser):
    """Fails on a tag that is closed out of order, and remembers what it met."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *attr) for attr in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parse(text):
    parser = Balance()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


def test_two_renders_give_the_same_bytes(rendered, tmp_path):
    render(part_of_the_run(), tmp_path)
    first, second = files(rendered), files(tmp_path)
    assert sorted(first) == sorted(second)
    assert [name for name in first if first[name] != second[name]] == []


def test_all_files_are_written(rendered):
    names = ("advantage_epsilon", "heatmap", "roc", "static_adaptive", "utility_privacy")
    wanted = {f"figures/{name}.{kind}" for name in names for kind in ("pdf", "png", "svg")}
    tabled = ("main", "attacks", "matched")
    wanted |= {f"tables/{name}.{kind}" for name in tabled for kind in ("csv", "tex")}
    assert set(files(rendered)) == wanted | {"report.html"}


def test_images_carry_neither_date_nor_program(rendered):
    for path in (rendered / "figures").iterdir():
        content = path.read_bytes()
        for word in (
            b"Matplotlib",
            b"Software",
            b"dc:date",
            b"tIME",
            b"tEXt",
            b"/Producer",
            b"CreationDate",
        ):
            assert word not in content, path.name


def test_page_is_one_small_file_without_outside_addresses(rendered):
    text = (rendered / "report.html").read_text(encoding="utf-8")
    assert len(text.encode()) < 3_000_000
    parsed = parse(text)
    # The drawing libraries name addresses that they never ask for: test_browser listens.
    assert not re.search("https?:", without_libraries(text))
    assert "default-src 'none'" in text
    sources = [value for _, name, value in parsed.attributes if name in ("src", "href")]
    assert all(value.startswith(("data:image/svg+xml;base64,", "tables/")) for value in sources)
    drawings = [source for source in sources if source.startswith("data:")]
    assert len(drawings) == 5
    for source in drawings:
        drawing = b64decode(source.partition(",")[2]).decode()
        addresses = re.findall(r'(?<!xmlns=")(?<!xmlns:xlink=")https?://[^"\s]+', drawing)
        assert set(addresses) <= {"http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd"}
        ElementTree.fromstring(drawing)


def test_page_links_to_files_that_exist(rendered):
    text = (rendered / "report.html").read_text(encoding="utf-8")
    links = re.findall(r'href="([^"]+)"', without_libraries(text))
    assert len(links) == 6
    assert all((rendered / link).is_file() for link in links)


def test_page_says_what_was_asked_found_and_not_proved(run):
    text = page_of(run)
    parse(text)
    for words in (
        "Which privacy defense is worth the accuracy it costs?",
        "fashion_mnist, mlp, 16 models per cell, 2000 examples in the pool",
        "What these numbers do not prove",
        "model 3 diverged",
        '<meta name="viewport"',
        "@media print",
        run.command,
        run.key,
    ):
        assert words in html.unescape(text)
    assert "A bound is violated" not in text


def test_hostile_names_are_only_text():
    run = simulated_run()
    for frame in (run.cells, run.attacks):
        frame["cell"] = frame["cell"].replace({"hamp": HOSTILE})
        frame["reason"] = frame["reason"].replace({"": HOSTILE})
    run.cells.loc[run.cells["cell"] == "none", "dataset"] = HOSTILE
    run.attacks["attack"] = run.attacks["attack"].replace({"malt": HOSTILE})
    run.attacks.loc[run.attacks["cell"] == HOSTILE, "violates_bound"] = True
    run.name = run.command = run.key = HOSTILE
    run.shift = {(key[0].replace("hamp", HOSTILE), *key[1:]): v for key, v in run.shift.items()}
    text = page_of(run)
    # Data and the page's own script, and not one element more. test_explorer: a page with a figure.
    assert parse(text).tags.count("script") == 2
    assert text.count(html.escape(HOSTILE)) > 10


def test_hostile_names_are_only_text_in_drawings_and_latex():
    run = part_of_the_run(cells=("none", "hamp"))
    run.command = HOSTILE
    for frame in (run.cells, run.attacks):
        frame["cell"] = frame["cell"].replace({"hamp": HOSTILE})
    tree = ElementTree.fromstring(svg_bytes(heatmap(run)))
    assert not [node for node in tree.iter() if str(node.tag).endswith("script")]
    text = latex_table(main_table(tables(run)), comments=[HOSTILE])
    comments, body = text.split("\\begin", 1)
    assert all(line.startswith("%") for line in comments.splitlines())
    assert "\\_\\$\\#\\{\\}\\textbackslash{}" in body


def test_violations_are_red(run):
    row = (run.attacks["cell"] == "dp_sgd(epsilon=1)") & (run.attacks["attack"] == "rmia")
    changed = simulated_run()
    changed.attacks.loc[row, "violates_bound"] = True
    text = page_of(changed)
    assert "A bound is violated" in text
    assert "dp_sgd(epsilon=1): rmia, adaptive" in text
    assert re.findall(r'<tr class="violates"><th scope="row">([^<]+)', text) == [
        "dp_sgd(epsilon=1)"
    ]
    numbers = main_numbers(tables(changed))
    assert numbers.loc[numbers["violates_bound"], "cell"].tolist() == ["dp_sgd(epsilon=1)"]


@pytest.mark.parametrize(
    ("cells", "missing"),
    [
        (("none",), {"advantage_epsilon"}),
        (("dp_sgd(epsilon=inf)",), {"advantage_epsilon"}),
        (("none", "dp_sgd(epsilon=4)"), set()),
    ],
    ids=["undefended", "clip only", "both"],
)
def test_small_runs_have_their_figures(cells, missing):
    run = part_of_the_run(cells=cells, attacks=("gap", "best"))
    without = {kind.name for kind in FIGURES if kind.draw(run) is None}
    assert without == missing | {"average_canary"}
    run = with_canaries(run)
    assert {kind.name for kind in FIGURES if kind.draw(run) is None} == missing


def test_canaries_enter_table_findings_and_alarms(run):
    changed = with_canaries(run)
    table = main_table(tables(changed))
    assert table["the same on canaries, %"].str.contains("[", regex=False).sum() > 10
    assert "the same on canaries, %" not in main_table(tables(run))
    assert any("canaries" in sentence for sentence in findings(tables(changed)))
    row = (changed.attacks["cell"] == "dp_sgd(epsilon=1)") & (changed.attacks["attack"] == "rmia")
    changed.attacks.loc[row, "canary_violates_bound"] = True
    assert "dp_sgd(epsilon=1): rmia, adaptive" in page_of(changed)


def test_nothing_finished_is_a_message_and_removes_old_figures(tmp_path):
    figures = tmp_path / "figures"
    figures.mkdir()
    (figures / "roc.svg").write_text("old")
    render(part_of_the_run(cells=("selena",)), tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    parse(text)
    assert "There is no figure" in text
    assert "model 3 diverged" in text
    assert list(figures.iterdir()) == []


def test_a_run_without_cells_has_a_page(tmp_path):
    render(part_of_the_run(cells=()), tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    parse(text)
    assert "There is no figure" in text


def test_cells_without_a_best_row_are_shown_as_such(run):
    changed = simulated_run()
    changed.attacks = changed.attacks[changed.attacks["attack"] != "best"]
    assert "There is no figure" in page_of(changed)
    table = main_table(tables(changed)).set_index("cell")
    assert table.loc["none", "advantage"] == "–"


def test_a_run_without_attacks_has_a_page():
    run = simulated_run()
    run.attacks = pd.DataFrame()
    text = page_of(run)
    parse(text)
    assert "82.3 [81.9, 82.7]" in text


def test_main_table_reads_as_text_and_as_numbers(run):
    read = tables(run)
    table = main_table(read).set_index("cell")
    assert table.loc["none", "test accuracy, %"] == "82.3 [81.9, 82.7]"
    assert table.loc["dp_sgd(epsilon=4)", "ε"] == "4"
    assert table.loc["dp_sgd(epsilon=4)", "limit on advantage"] == "0.354"
    assert table.loc["dp_sgd(epsilon=inf)", ["ε", "limit on advantage"]].tolist() == ["∞", "–"]
    assert table.loc["selena"].tolist() == ["failed", "–", "–", "–", "–"]
    assert table.loc["none", "advantage"].endswith("]\nlira (online, per_example)")
    numbers = main_numbers(read).set_index("cell")
    assert numbers.loc["none", "test_accuracy"] == 0.823
    assert numbers.loc["selena", "status"] == "failed"
    assert len(numbers) == len(run.cells)


def test_unresolvable_rates_are_named():
    run = simulated_run()
    run.cells = pd.DataFrame([cell_row("none", "none", {}, 0.8)])
    row = attack_row("none", "best", "{}", shift=1.0) | {"tpr_at_fpr_0.001": math.nan}
    run.attacks = pd.DataFrame([row])
    assert main_table(tables(run))["TPR at 0.1 % FPR, %"].item() == "not resolvable"


def test_infinities_survive_csv(rendered):
    numbers = pd.read_csv(rendered / "tables" / "main.csv").set_index("cell")
    assert numbers.loc["none", "epsilon"] == math.inf
    assert numbers.loc["dp_sgd(epsilon=0.5)", "epsilon"] == 0.5
    attacks = pd.read_csv(rendered / "tables" / "attacks.csv").set_index("cell")
    assert attacks.shape == (8, 4)
    assert attacks.loc["selena"].isna().all()


def test_latex_is_escaped_and_rectangular(rendered):
    assert escape("a_b & 50 % {x} \\ ~ ^ ε=∞\n$#") == (
        r"a\_b \& 50 \% \{x\} \textbackslash{} \textasciitilde{} \textasciicircum{} "
        r"$\varepsilon$=$\infty$ \$\#"
    )
    for path in (rendered / "tables").glob("*.tex"):
        rows = [line for line in path.read_text().splitlines() if line.endswith(r"\\")]
        assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1
        assert len(rows) == {"main": 9, "attacks": 9, "matched": 9}[path.stem]
    table = pd.DataFrame([["[a]", "1"]], columns=["x", "y"])
    body = latex_table(table, comments=["two\nlines"])
    assert body.startswith("% two lines\n\\begin{tabular}{lr}\n")
    assert "\n{}[a] & 1 \\\\\n" in body


def test_intervals_are_written_with_what_is_known():
    assert interval(0.1234, 0.1, 0.2) == "0.123 [0.100, 0.200]"
    assert interval(0.1234, math.nan, 0.2, scale=100, digits=1) == "12.3"
    assert interval(math.nan, 0.1, 0.2) == "–"


def test_findings_are_the_runs_own(run):
    sentences = "\n".join(findings(tables(run)))
    assert "Without a defense the models are 82.3 % [81.9, 82.7] accurate" in sentences
    assert "l2(weight_decay=0.01)+label_only leaks least" in sentences
    assert "dp_sgd(epsilon=4) has the highest measured accuracy" in sentences
    assert "Knowing the defense gains most, as measured, against temperature(t=20)" in sentences
    assert findings(tables(part_of_the_run(cells=["selena"]))) == []
    assert len(findings(tables(part_of_the_run(cells=["none"])))) == 1
    costly = findings(tables(part_of_the_run(cells=["none", "dp_sgd(epsilon=0.5)"])))
    assert costly[1] == "No defense stays within one point of that accuracy."


def test_a_defense_leaks_least_only_if_no_attack_on_it_may_reach_the_others():
    """The best attack alone does not settle it: a weaker one may be known less well."""
    cell = "l2(weight_decay=0.01)+label_only"
    run = simulated_run()
    said = "\n".join(findings(tables(run)))
    assert f"{cell} leaks least" in said
    assert "the strongest other attack, gap, finds" in said
    unsure = (run.attacks["cell"] == cell) & (run.attacks["attack"] == "gap")
    run.attacks.loc[unsure, "advantage_high"] = 0.3
    said = "\n".join(findings(tables(run)))
    assert "leaks least" not in said
    assert f"{cell} has the smallest measured advantage" in said
    assert "not told apart from" in said
    assert "reach 0.300" in said
    # An attacker who holds the weights is not whom a mask is meant against.
    rest = run.attacks[~unsure]
    ensemble = rest[(rest["cell"] == cell) & (rest["attack"] == "best")].assign(
        attack="ensemble", attack_params='{"attacks": ["gap"]}', access="label"
    )
    run.attacks.loc[unsure, "access"] = "white_box"
    run.attacks = pd.concat([run.attacks, ensemble])
    assert f"{cell} leaks least" in "\n".join(findings(tables(run)))


def test_static_attackers_and_canaries_make_a_finding_only_where_intervals_are_apart(run):
    changed = with_canaries(run)
    for name in ("advantage", "canary_tpr_at_fpr_0.001"):
        changed.attacks[f"{name}_low"], changed.attacks[f"{name}_high"] = -1.0, 1.0
    said = "\n".join(findings(tables(changed)))
    assert "canaries" not in said
    assert "Knowing the defense" not in said
