"""Grids that are wrong on purpose."""

import numpy as np

Rng = np.random.Generator

GRID = """\
name: tiny
population: {dataset: letter, pool: 150, test: 200, reference: 150}
model: {name: mlp, hidden: [16]}
recipe: {epochs: 10, batch_size: 16, lr: 0.1}
models: 8
seed: 0
defenses:
  - none
  - {dp_sgd: {epsilon: [1, .inf], delta: 1e-5}}
  - [{l2: {weight_decay: 0.1}}, label_only]
attacks: [gap, malt, {lira: {mode: [online, offline]}}]
"""
# What replaces a scalar, or goes anywhere: sizes, types, tags, markup, separators, control bytes.
TOKENS = (
    ".nan", "-.inf", ".inf", "1e999", "-1", "0", "9" * 30, "9" * 5000, "0x" + "f" * 40, "1:2:3",
    "1_000", "null", "true", "[]", "{}", "[[]]", "{a: {b: [c]}}", "[" * 300, "{" * 300, "''",
    "'../../etc/passwd'", "'a/b'", "'[bold]x[/bold]'", "'[/red]'", "'<script>'", "'%s{0}'",
    "'" + "x" * 5000 + "'", "'é☃'", r'"\ud800"', r'"\0"', "!!python/object:os.system x",
    "!!int x", "!!float x", "!!bool maybe", "!!timestamp x", "!!timestamp 2024-01-01", "!!set {a}",
    "!!binary x", "!!binary aGk=", "!!omap [a: 1]", "!!null 1", "!x y", "&a [1]", "*a",
    "<<: {a: 1}", "? [1]\n: 2", "- - -", ": :", "|\n x", "%YAML 9.9", "---", "...", "\t", "\0",
    "\x85", "\ufeff", "[0.5, 1, 2]", "[" + "1, " * 2000 + "1]", "2024-01-01", "=", "~", "@", "`",
    "#", "\\", "all", "{all_but: [gap]}", "none", "label_only", "canaries: {kind: x}",
    "plugins: ['/dev/null']",
)  # fmt: skip


def grid_text(rng: Rng) -> str:
    """Returns a grid with a few faults."""
    text = GRID
    for _ in range(rng.integers(1, 4)):
        text = _FAULTS[rng.integers(len(_FAULTS))](text, rng)
    return text


def _replace_scalar(text: str, rng: Rng) -> str:
    words = [word.strip("[]{},:-") for word in text.split()]
    word = str(rng.choice([word for word in words if word] or ["x"]))
    places = [i for i in range(len(text)) if text.startswith(word, i)]
    place = int(rng.choice(places)) if places else 0
    return text[:place] + _token(rng) + text[place + len(word) :]


def _other_number(text: str, rng: Rng) -> str:
    places = [i for i, letter in enumerate(text) if letter in "123456789"]
    if not places:
        return text
    place = int(rng.choice(places))
    return text[:place] + str(rng.integers(1, 10)) + text[place + 1 :]


def _insert(text: str, rng: Rng) -> str:
    place = rng.integers(len(text) + 1)
    return text[:place] + _token(rng) + text[place:]


def _repeat_line(text: str, rng: Rng) -> str:
    lines = text.splitlines() or [""]
    line, place = rng.integers(len(lines)), rng.integers(len(lines) + 1)
    return "\n".join([*lines[:place], *[lines[line]] * int(rng.integers(1, 4)), *lines[place:]])


def _cut(text: str, rng: Rng) -> str:
    first, last = sorted(rng.integers(len(text) + 1, size=2))
    return text[:first] + text[min(last, first + 40) :]


def _flip(text: str, rng: Rng) -> str:
    letters = list(text or " ")
    letters[rng.integers(len(letters))] = chr(rng.integers(1, 0x3000))
    return "".join(letters)


def _sweep(text: str, rng: Rng) -> str:
    values = ", ".join(str(i) for i in range(int(rng.choice([2, 3000]))))
    return text.replace("delta: 1e-5", f"delta: [{values}], noise_multiplier: [{values}]", 1)


def _token(rng: Rng) -> str:
    return TOKENS[rng.integers(len(TOKENS))]


_FAULTS = (
    _replace_scalar, _replace_scalar, _other_number, _other_number, _insert, _repeat_line, _cut,
    _flip, _sweep,
)  # fmt: skip
