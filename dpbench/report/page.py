"""The page: one HTML file that needs no network, no script and no other file."""

import base64
from collections.abc import Mapping
from html import escape
from importlib.metadata import version
from importlib.resources import files
from string import Template

import pandas as pd

import dpbench
from dpbench.report.findings import findings
from dpbench.report.main_table import main_table
from dpbench.report.results import Results, Tables

CAPTIONS = {
    "utility_privacy": (
        "Each point is one defense at one strength. To the right, models are more accurate; lower "
        "down, the best attack finds less. Lines join one defense from its strongest to its weakest "
        "setting. The short dashes above a point are limits: with the guarantee of that point no "
        "attack, known or unknown, can lie above the dark dash. The pale dash is what follows from "
        "(ε, δ) alone, which is far less than the mechanism itself guarantees."
    ),
    "advantage_epsilon": (
        "The distance between the best attack and the lowest bound is what theory allows and "
        "nobody has found: the bound holds for the most exposed example that could exist, the attack is "
        "measured on ordinary ones. The bounds made of e^ε are historical, and say nothing from "
        "ε ≈ 0.7 on; the mechanism's own bound is the one to compare with. Both axes are logarithmic."
    ),
    "roc": (
        "An attacker who must not raise false alarms works at the left edge. A curve above the dotted "
        "line there names members with confidence, even where its advantage is small. Dashed curves "
        "are the limits of the mechanisms of the same colour. A curve ends at the left where there are "
        "too few non-members to measure further."
    ),
    "heatmap": (
        "Darker means that the attack finds more. Attacks that look alike on an undefended model "
        "differ on a defended one, which is why one attack is not a measurement."
    ),
    "static_adaptive": (
        "Hollow: the attacker prepared on undefended models. Filled: it prepared on models with the "
        "same defense. Only the filled point says what the defense protects."
    ),
}
HEADLINES = {
    "advantage_epsilon": "How close do attacks come to what theory allows?",
    "roc": "Who is caught without false alarms?",
    "heatmap": "Which attack finds what?",
    "static_adaptive": "Does the defense hold once the attacker knows it?",
}
NO_HEADLINE = (
    "There is no figure: no finished cell has both a test accuracy and a best attack. "
    "The reasons are listed below."
)


def page(results: Results, run: Tables, figures: Mapping[str, bytes]) -> str:
    """Returns the HTML of a run's report.

    Args:
        results: The run.
        run: Its tables.
        figures: SVG files by the name of the figure; a figure that could not be drawn is absent.
    """
    headline = "utility_privacy"
    template = Template(files("dpbench.report").joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        name=escape(results.name),
        setting=escape(_setting(run)),
        alarms=_alarms(run),
        findings=_list(findings(run)),
        headline=_figure(headline, figures[headline])
        if headline in figures
        else _stop(NO_HEADLINE),
        main_table=_main_table(run),
        figures="\n".join(
            f"<section>\n<h2>{escape(title)}</h2>\n{_figure(name, figures[name])}\n</section>"
            for name, title in HEADLINES.items()
            if name in figures
        ),
        reasons=_reasons(run),
        command=escape(results.command),
        key=escape(results.key),
        versions=_versions(),
    )


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
    violating = run.points[run.points["violates_bound"].eq(True)]["cell"].tolist()
    single = run.attacks[run.attacks["violates_bound"]]
    lines = [f"{cell}: the best attack" for cell in violating] + [
        f"{row.cell}: {row.label}, {row.knowledge}" for row in single.itertuples()
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


def _figure(name: str, svg: bytes) -> str:
    # As an image the drawing is sealed off: its ids, styles and texts cannot touch the page.
    data = base64.b64encode(svg).decode("ascii")
    return (
        f'<figure id="{name}">\n<div class="wide">'
        f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(CAPTIONS[name])}"></div>\n'
        f"<figcaption>{escape(CAPTIONS[name])}</figcaption>\n</figure>"
    )


def _main_table(run: Tables) -> str:
    table = main_table(run)
    violates = run.attacks.loc[run.attacks["violates_bound"], "cell"].tolist()
    violates += run.points.loc[run.points["violates_bound"].eq(True), "cell"].tolist()
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    body = []
    for row, status in zip(
        table.itertuples(index=False, name=None), run.cells["status"], strict=True
    ):
        kind = "violates" if row[0] in violates else "" if status == "done" else "idle"
        fields = "".join(f"<td>{escape(text)}</td>" for text in row)
        body.append(f'<tr class="{kind}">{fields}</tr>' if kind else f"<tr>{fields}</tr>")
    rows = "\n".join(body)
    return (
        "<section>\n<h2>Every defense</h2>\n"
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table></div>\n"
        '<p class="quiet">The best attack was chosen on one half of the models and is reported on '
        "the other. The limit is the largest advantage that the mechanism allows any attack. "
        'Files: <a href="tables/main.csv">main.csv</a>, <a href="tables/main.tex">main.tex</a>, '
        '<a href="tables/attacks.csv">attacks.csv</a>, <a href="tables/attacks.tex">attacks.tex</a>.'
        "</p>\n</section>"
    )


def _reasons(run: Tables) -> str:
    """Lists what has no number and why, cells before single attacks."""
    cells = run.cells[run.cells["status"] != "done"]
    attacks = run.attacks[
        run.attacks["status"].ne("done") & ~run.attacks["cell"].isin(cells["cell"])
    ]
    lines = [(row.cell, "", row.status, row.reason) for row in cells.itertuples()] + [
        (row.cell, f"{row.label}, {row.knowledge}", row.status, row.reason)
        for row in attacks.itertuples()
    ]
    if not lines:
        return ""
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{escape(text.replace('_', ' '))}</td>" for text in line) + "</tr>"
        for line in lines
    )
    return (
        "<section>\n<h2>Without numbers</h2>\n"
        '<p>What failed or does not apply is listed here, never counted as "no leak".</p>\n'
        '<div class="wide"><table class="reasons">\n<thead><tr><th>cell</th><th>attack</th>'
        f"<th>status</th><th>reason</th></tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>\n"
        "</section>"
    )


def _versions() -> str:
    names = ("numpy", "pandas", "matplotlib", "seaborn")
    versions = [f"dpbench {dpbench.__version__}", *(f"{name} {version(name)}" for name in names)]
    return f"<dt>page made with</dt><dd>{escape(', '.join(versions))}</dd>"
