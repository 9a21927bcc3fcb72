"""LaTeX tables, written without a template engine."""

from collections.abc import Sequence

import pandas as pd

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "ε": r"$\varepsilon$",
    "δ": r"$\delta$",
    "∞": r"$\infty$",
    "–": "--",
    **{char: "\\" + char for char in "&%$#_{}"},
}


def escape(text: str) -> str:
    """Returns text that LaTeX sets as it is written; line breaks become spaces."""
    return "".join(_SPECIAL.get(char, char) for char in " ".join(text.split()))


def latex_table(table: pd.DataFrame, *, comments: Sequence[str]) -> str:
    r"""Returns a `tabular` of a table of texts; it needs the booktabs package.

    Args:
        table: Texts; the first column is set flush left, the others flush right.
        comments: Lines about the table's origin, above it.
    """
    lines = [f"% {' '.join(comment.split())}" for comment in comments]
    lines.append(rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}")
    lines += [r"\toprule", _line(list(table.columns)), r"\midrule"]
    lines += [_line(row) for row in table.itertuples(index=False, name=None)]
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _line(texts: Sequence[str]) -> str:
    line = " & ".join(escape(str(text)) for text in texts) + r" \\"
    # After a line break a bracket would be read as that break's optional argument.
    return "{}" + line if line.startswith(("[", "*")) else line
