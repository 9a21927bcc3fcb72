"""The page: one HTML file that needs no network and no other file."""

import base64
from collections.abc import Sequence
from html import escape
from importlib.metadata import version
from importlib.resources import files
from string import Template
from typing import NamedTuple

import pandas as pd

import dpbench
from dpbench.report import charts
from dpbench.report.explorer import embedded, knowledge
from dpbench.report.findings import findings
from dpbench.report.main_table import main_numbers, main_table
from dpbench.report.matched import matched_numbers, matched_table
from dpbench.report.precision import precision_table
from dpbench.report.results import Results, Tables, records

HEADLINE = "utility_privacy"
NO_HEADLINE = (
    "There is no figure: no finished cell has both a test accuracy and a best attack. "
    "The reasons are listed below."
)

NO_SCRIPT = (
    "Points of this figure cannot be chosen: the page was made without the extra `report` "
    "(pip install 'dp-defense-bench[report]', then dpbench report DIR)."
)
MATCHED = (
    "Read off between neighbouring strengths of DP-SGD. The limits follow from those of all the "
    "numbers that enter, allow any course between two strengths, and forget that all cells share "
    "test examples and memberships: they are wide. dpbench compare DIR --defense NAME pairs the "
    "cells, and tells more of them apart."
)
PRECISION = (
    "On the rest of this page, a TPR at a fixed rate of false alarms is read off the ROC curve of "
    "the very models that are attacked, as an auditor can. A real attacker sets the threshold on "
    "other models. The rate of false alarms then differs from the one aimed at. The last columns "
    "give the share of right accusations, for three shares of members among the people whom the "
    "attacker asks about. The examples are ordinary ones, not canaries."
)


class Drawing(NamedTuple):
    """A figure that could be drawn.

    Attributes:
        name: Name of its files.
        title: The question that it answers.
        caption: How to read it, in plain text.
        image: The drawing, as SVG or PNG.
        media: `svg+xml` or `png`.
    """

    name: str
    title: str
    caption: str
    image: bytes
    media: str


def page(results: Results, run: Tables, drawings: Sequence[Drawing]) -> str:
    """Returns the HTML of a run's report.

    Args:
        results: The run.
        run: Its tables.
        drawings: The figures, the headline among them; one that could not be drawn is absent.
    """
    first = [one for one in drawings if one.name == HEADLINE]
    return _template("page.html").substitute(
        name=escape(results.name),
        setting=escape(_setting(run)),
        alarms=_alarms(run),
        findings=_list(findings(run)),
        headline=_headline("".join(map(_figure, first))),
        data=embedded(knowledge(results, run)),
        script=_script("page.js"),
        explorer=_explorer(bool(first)),
        main_table=_main_table(run),
        matched=_matched(run),
        precision=_precision(run),
        figures="\n".join(
            f"<section>\n<h2>{escape(one.title)}</h2>\n{_figure(one)}\n</section>"
            for one in drawings
            if one not in first
        ),
        reasons=_reasons(run),
        command=escape(results.command),
        key=escape(results.key),
        document=escape(results.document),
        versions=_versions(),
    )


def _template(name: str) -> Template:
    return Template(files("dpbench.report").joinpath(name).read_text(encoding="utf-8"))


def _script(name: str) -> str:
    return files("dpbench.report").joinpath(name).read_text(encoding="utf-8")


def _headline(still: str) -> str:
    """Returns the interactive headline, around the still one for readers without scripts."""
    if not still:
        return _stop(NO_HEADLINE)
    if not charts.available():
        return f'{still}\n<p class="quiet">{escape(NO_SCRIPT)}</p>'
    return _template("explorer.html").substitute(fallback=still)


def _explorer(drawn: bool) -> str:
    """Returns the scripts of the interactive headline, where it is shown."""
    if not (drawn and charts.available()):
        return ""
    return f"<script>{charts.script()}</script>\n<script>{_script('explorer.js')}</script>"


def _matched(run: Tables) -> str:
    """Returns DP-SGD at the accuracy of every other defense, where the run has enough of it."""
    table = matched_table(matched_numbers(run))
    if table.empty:
        return ""
    return (
        '<section id="matched">\n<h2>What would DP-SGD leak at the same accuracy?</h2>\n'
        f'{_table(table, "DP-SGD at the same accuracy")}<p class="quiet">{escape(MATCHED)} '
        'Files: <a href="tables/matched.csv">matched.csv</a>, '
        '<a href="tables/matched.tex">matched.tex</a>.</p>\n</section>'
    )


def _precision(run: Tables) -> str:
    """Returns how often attackers are right who set their threshold before they see a target."""
    table = precision_table(run)
    if table.empty:
        return ""
    return (
        '<section id="precision">\n<h2>How often is an attacker right?</h2>\n'
        f'{_table(table, "How often an attacker is right")}<p class="quiet">{escape(PRECISION)}'
        "</p>\n</section>"
    )


def _table(table: pd.DataFrame, label: str, kinds: Sequence[str] = ()) -> str:
    """Returns a table whose rows may each have a class; the first column names the row."""
    head = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in table.columns)
    body = []
    for index, (name, *rest) in enumerate(table.itertuples(index=False, name=None)):
        kind = f' class="{kinds[index]}"' if kinds and kinds[index] else ""
        fields = "".join(f"<td>{_field(text)}</td>" for text in rest)
        body.append(f'<tr{kind}><th scope="row">{escape(name)}</th>{fields}</tr>')
    rows = "\n".join(body)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(label)}">'
        f'<table class="sortable">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table></div>\n"
    )


def _field(text: str) -> str:
    """Returns a field whose second line, if it has one, says where the first comes from."""
    first, _, second = text.partition("\n")
    return escape(first) + (f'<span class="by">{escape(second)}</span>' if second else "")


def _setting(run: Tables) -> str:
    """Returns data set, model and size of the game; one run has one of each."""
    if run.cells.empty:
        return "This run has no cells."
    first = run.cells.iloc[0]
    counts = [
        f"{int(first[column])} {noun}"
        for column, noun in (("n_models", "models per cell"), ("n_pool", "examples in the pool"))
        if pd.notna(first[column])
    ]
    return ", ".join([part for part in (first["dataset"], first["model"]) if part] + counts)


def _alarms(run: Tables) -> str:
    rows = [*records(run.attacks), *records(run.best.assign(label="the best attack"))]
    lines = [
        f"{row['cell']}: {row['label']}, {row['knowledge']}"
        for row in rows
        if row["violates_bound"]
    ]
    if not lines:
        return ""
    explained = (
        "A measured lower confidence limit lies above what the mechanism allows. Chance does this "
        "rarely; usually the mechanism, the sampling or the accounting is wrong. Do not use the "
        "guarantee of these cells."
    )
    return (
        '<div class="alarm" role="alert">\n<p><strong>A bound is violated.</strong></p>\n'
        f"<p>{escape(explained)}</p>\n{_list(lines)}\n</div>"
    )


def _list(lines: list[str]) -> str:
    items = "\n".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="findings">\n{items}\n</ul>' if lines else ""


def _stop(message: str) -> str:
    return f'<div class="alarm">\n<p>{escape(message)}</p>\n</div>'


def _figure(drawing: Drawing) -> str:
    # As an image the drawing is sealed off: its ids, styles and texts cannot touch the page.
    data = base64.b64encode(drawing.image).decode("ascii")
    source = f"data:image/{drawing.media};base64,{data}"
    caption = escape(drawing.caption)
    return (
        f'<figure id="{escape(drawing.name)}">\n<div class="wide">'
        f'<img src="{source}" alt="{escape(drawing.title)}"></div>\n'
        f"<figcaption>{caption}</figcaption>\n</figure>"
    )


def _main_table(run: Tables) -> str:
    table = main_table(run)
    violates = run.points.loc[run.points["violates_bound"], "cell"].tolist()
    kinds = [
        "violates" if cell in violates else "" if status == "done" else "idle"
        for cell, status in zip(run.cells["cell"], run.cells["status"], strict=True)
    ]
    names = ("main.csv", "main.tex", "attacks.csv", "attacks.tex")
    links = ", ".join(f'<a href="tables/{name}">{name}</a>' for name in names)
    return (
        '<section id="defenses">\n<h2>Every defense</h2>\n'
        f"{_table(table, 'Every defense', kinds)}"
        '<p class="quiet">Each leak names its attack: the one that did best by this measure on one '
        "half of the models, reported on the other. The limit is the largest advantage that the "
        "mechanism allows any attack. "
        f"{_static_only(run)}Files: {links}.</p>\n</section>"
    )


def _static_only(run: Tables) -> str:
    if not main_numbers(run)["static_only"].any():
        return ""
    return (
        "“Static only” marks a defense against which no attack adapted: the run has no attack with "
        "shadows, and the defense declares neither how it is undone nor which attack fits it. "
    )


def _reasons(run: Tables) -> str:
    """Lists what has no number and why, cells before single attacks."""
    cells = run.cells[run.cells["status"] != "done"]
    lines = [(row["cell"], "", row["status"], row["reason"]) for row in records(cells)]
    lost = run.attacks["status"].ne("done") & ~run.attacks["cell"].isin(cells["cell"])
    for key, rows in run.attacks[lost].groupby(["cell", "status", "reason"], sort=False):
        cell, status, reason = (str(part) for part in key)
        lines.append((cell, ", ".join(dict.fromkeys(rows["label"])), status, reason))
    if not lines:
        return ""
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in line) + "</tr>" for line in lines
    )
    return (
        "<section>\n<h2>Without numbers</h2>\n"
        '<p>What failed or does not apply is listed here, never counted as "no leak".</p>\n'
        '<div class="wide" tabindex="0" role="region" aria-label="Without numbers">'
        '<table class="reasons">\n<thead><tr><th>cell</th><th>attack</th>'
        f"<th>status</th><th>reason</th></tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n"
        "</section>"
    )


def _versions() -> str:
    names = ("torch", "opacus", "numpy", "pandas", "matplotlib", "seaborn")
    versions = [f"dpbench {dpbench.__version__}", *(f"{name} {version(name)}" for name in names)]
    return f"<dt>page made with</dt><dd>{escape(', '.join(versions))}</dd>"
