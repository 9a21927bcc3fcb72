"""A toy whose attack results were published beforehand: does this project reproduce them?

    python -m bench.simulation [REPLICATIONS]   # writes docs/simulation.md, keeps bench/out/*.csv

Each replication draws new class means, points, labels and coins, trains 88 softmax regressions
under six defenses with the dense engine, and attacks 24 of them with 64 shadows. The reference is
one such draw; its seed is not known. So a reference number is judged against the spread of ours
over replications. Finished replications are kept in the CSV.
"""

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import stdtr

from bench.generated import replace_section
from bench.simulated_game import (
    COLUMNS,
    Bools,
    Column,
    Draw,
    Floats,
    Outputs,
    Size,
    attacked,
    columns,
    observe,
    released,
    train,
)
from dpbench.attacks import Attack, Gap, Lira, Malt, Mast, Rmia, Watson
from dpbench.attacks.toolbox.confidence import logit
from dpbench.attacks.toolbox.leave_one_out import leave_one_out
from dpbench.metrics import roc, tpr_at
from dpbench.privacy import accuracy_gaussian, tpr_gaussian

REPLICATIONS = 10
OUT = Path("bench/out/simulation.csv")
PAGE = Path("docs/simulation.md")
METRICS = ("accuracy", "TPR at 1 %", "TPR at 0.1 %")
ROUNDING = 0.0005
"""Half of the last digit of a reference number."""

ATTACKS: dict[str, Attack] = {
    "gap": Gap(),
    "global φ (MALT)": Malt(),
    "Watson": Watson(),
    "MAST midpoint": Mast(),
    "LiRA offline (per-example σ)": Lira(mode="offline", variance="per_example"),
    "LiRA online (per-example σ)": Lira(variance="per_example"),
    "LiRA online (pooled σ)": Lira(),
    "RMIA online": Rmia(),
}
DISTANCE, BOUND = "label-only exact distance", "bound B6"

REFERENCE: dict[str, str] = {
    "train": "1.00 .987 .834 .870 .893 .320",
    "test": ".675 .690 .526 .560 .497 .199",
    "gap": ".666/0/0 .654/0/0 .671/0/0 .666/0/0 .702/0/0 .562/0/0",
    "global φ (MALT)": (
        ".868/.076/.010 .815/.132/.020 .715/.108/.020 .726/.119/.024 .741/.057/.006 .586/.019/.002"
    ),
    DISTANCE: (
        ".863/.078/.010 .806/.137/.016 .697/.097/.020 .709/.114/.024 .737/.053/.009 .562/.018/.002"
    ),
    "Watson": (
        ".784/.270/.119 .917/.670/.355 .811/.293/.096 .830/.359/.129 .744/.089/.018 .586/.019/.002"
    ),
    "MAST midpoint": (
        ".899/.518/.270 .953/.817/.496 .814/.298/.078 .833/.366/.116 .774/.101/.024 .587/.019/.003"
    ),
    "LiRA offline (per-example σ)": (
        ".920/.667/.386 .935/.748/.460 .809/.290/.102 .829/.332/.141 .774/.118/.024 .584/.018/.002"
    ),
    "LiRA online (per-example σ)": (
        ".953/.756/.427 .954/.802/.466 .814/.281/.090 .833/.343/.126 .777/.114/.019 .575/.020/.002"
    ),
    "LiRA online (pooled σ)": (
        ".952/.742/.432 .955/.804/.480 .814/.284/.076 .834/.357/.121 .779/.124/.022 .581/.015/.002"
    ),
    "RMIA online": (
        ".924/.649/.437 .954/.804/.461 .821/.361/.238 .839/.397/.246 .775/.137/.029 .586/.017/.003"
    ),
    BOUND: "- - - - .841/.372/.138 .599/.034/.005",
}
"""Rows of the reference by defense: accuracy / TPR at 1 % / TPR at 0.1 % FPR."""

OTHER_DECAY = (Column("L2 1e-3", decay=2e-3), Column("L2 1e-1", decay=2e-1))
"""What the two strengths mean where the penalty is written without the 1/2."""


def main() -> None:
    """Runs what is missing and writes the page."""
    torch.set_num_threads(1)
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else REPLICATIONS
    OUT.parent.mkdir(parents=True, exist_ok=True)
    known = pd.read_csv(OUT) if OUT.is_file() else pd.DataFrame({"replication": []})
    for replication in sorted(set(range(wanted)) - set(known["replication"])):
        found = pd.DataFrame(measure(Size(), replication))
        known = pd.concat([known, found], ignore_index=True)
        known.to_csv(OUT, index=False)
        print(f"replication {replication} done", flush=True)
    judged = judge(known[known["replication"] < wanted])
    text = f"{verdict(judged, wanted)}\n\n{tables(judged)}"
    print(text)
    replace_section(PAGE, text)


def measure(size: Size, replication: int) -> Iterator[dict[str, object]]:
    """Yields one row per attack, defense and metric; other conventions as attacks of their own."""
    for column, drawn, outputs in columns(size, replication):
        yield from _rows(column, drawn, outputs, size, replication)
        if column == COLUMNS[0]:
            undefended = drawn
    for column in OTHER_DECAY:
        outputs = observe(undefended, size, train(undefended, size, column, seed=replication))
        for row in _rows(column, undefended, outputs, size, replication):
            yield row | {"attack": f"{row['attack']}, penalty without 1/2"}


def _rows(
    column: Column, drawn: Draw, outputs: Outputs, size: Size, replication: int
) -> Iterator[dict[str, object]]:
    bits = drawn.members[size.shadows :]
    right = outputs.pool.argmax(-1) == drawn.pool_y
    accuracies = {
        "train": float(right[drawn.members].mean()),
        "test": float((outputs.test.argmax(-1) == drawn.test_y).mean()),
    }
    where = {"replication": replication, "defense": column.name}
    for name, value in accuracies.items():
        yield where | {"attack": name, "metric": "accuracy", "value": value}
    for name, scores in score_rows(drawn, outputs, size):
        for metric, value in zip(METRICS, cell(scores, bits), strict=True):
            yield where | {"attack": name, "metric": metric, "value": value}


def score_rows(drawn: Draw, outputs: Outputs, size: Size) -> Iterator[tuple[str, Floats]]:
    """Yields each row's name and its scores `(targets, n)`."""
    for name, attack in ATTACKS.items():
        yield name, attacked(attack, drawn, outputs, size)
    yield DISTANCE, outputs.distance[size.shadows :]
    phi = logit(released(outputs.pool), drawn.pool_y)
    shadows = leave_one_out(
        np.vstack([phi[: size.shadows], phi[:1]]),
        np.vstack([~drawn.members[: size.shadows], np.zeros((1, phi.shape[1]), bool)]),
    )
    yield "Watson on φ", phi[size.shadows :] - shadows.mean[-1]


def cell(scores: Floats, members: Bools) -> tuple[float, float, float]:
    """Returns the accuracy at the best threshold (an oracle), and TPR at FPR 1 % and 0.1 %."""
    curve = roc(scores, members)
    advantage = (curve.tp / curve.positives - curve.fp / curve.negatives).max()
    return float(0.5 + advantage / 2), tpr_at(curve, 0.01), tpr_at(curve, 0.001)


def documented() -> Iterator[dict[str, object]]:
    """Yields the reference's numbers as rows."""
    for attack, line in REFERENCE.items():
        for column, entry in zip(COLUMNS, line.split(), strict=True):
            if entry != "-":
                for metric, number in zip(METRICS, entry.split("/"), strict=False):
                    yield {
                        "attack": attack,
                        "defense": column.name,
                        "metric": metric,
                        "documented": float(number),
                    }


def judge(known: pd.DataFrame) -> pd.DataFrame:
    """Returns reference, mean, standard deviation of one replication, and distance in deviations.

    The bound is a formula: its deviation is 0. Half of the reference's last digit is forgiven.
    """
    keys = ["attack", "defense", "metric"]
    ours = known.groupby(keys)["value"].agg(["mean", "std"]).reset_index()
    judged = pd.DataFrame(documented()).merge(ours, on=keys, how="outer")
    for row in judged[judged["attack"] == BOUND].itertuples():
        mu = next(column.mu for column in COLUMNS if column.name == row.defense)
        rates = {METRICS[1]: 0.01, METRICS[2]: 0.001}
        exact = (
            float(tpr_gaussian(rates[row.metric], mu))
            if row.metric in rates
            else float(accuracy_gaussian(mu))
        )
        judged.loc[row.Index, ["mean", "std"]] = exact, 0.0
    excess = np.maximum((judged["documented"] - judged["mean"]).abs() - ROUNDING, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        judged["deviations"] = np.where(excess == 0, 0.0, excess / judged["std"])
    return judged


def verdict(judged: pd.DataFrame, replications: int) -> str:
    """Returns how many reference numbers lie within two and three standard deviations."""
    rows = judged.dropna(subset=["documented"])
    random = rows[rows["std"] > 0]
    fixed = rows[rows["std"] == 0]
    # One more draw lies so far from the mean of R others, in their deviations: Student's t.
    expected = [
        len(random) * 2 * stdtr(replications - 1, -k / math.sqrt(1 + 1 / replications))
        for k in (2, 3)
    ]
    lines = [
        f"Of {len(random)} reference numbers that vary between draws, "
        f"{(random['deviations'] <= 2).sum()} lie within two and "
        f"{(random['deviations'] <= 3).sum()} within three standard deviations of one draw, over "
        f"{replications} draws; {expected[0]:.0f} and {expected[1]:.1f} would be beyond if the "
        f"reference were one more draw of ours. Of {len(fixed)} that do not vary (the bound, and "
        f"the gap attack's TPR of 0), {(fixed['deviations'] == 0).sum()} are equal to the last "
        "digit. Beyond two:",
        "",
    ]
    beyond = rows[rows["deviations"] > 2].sort_values("deviations", ascending=False)
    lines += [
        f"- {row.attack}, {row.defense}, {row.metric}: reference {row.documented:.3f}, here "
        f"{row.mean:.3f} ± {row.std:.3f} ({row.deviations:.1f} deviations)"
        for row in beyond.itertuples()
    ]
    return "\n".join(lines)


def tables(judged: pd.DataFrame) -> str:
    """Returns one Markdown table per metric; a row without a reference shows ours alone."""
    blocks = []
    order = [*REFERENCE, *sorted(set(judged["attack"]) - set(REFERENCE))]
    for metric in METRICS:
        rows = judged[judged["metric"] == metric].set_index(["attack", "defense"])
        lines = [
            f"### {metric[0].upper()}{metric[1:]}\n",
            "| | " + " | ".join(column.name for column in COLUMNS) + " |",
            "|---|" + "---|" * len(COLUMNS),
        ]
        for attack in order:
            if attack in rows.index.get_level_values(0):
                cells = [_shown(rows, attack, column.name) for column in COLUMNS]
                lines.append(f"| {attack} | " + " | ".join(cells) + " |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _shown(rows: pd.DataFrame, attack: str, defense: str) -> str:
    if (attack, defense) not in rows.index:
        return ""
    row = rows.loc[(attack, defense)]
    ours = f"{row['mean']:.3f} ± {row['std']:.3f}"
    if math.isnan(row["documented"]):
        return ours
    mark = " **!**" if row["deviations"] > 3 else " *" if row["deviations"] > 2 else ""
    return f"{row['documented']:.3f}; {ours}{mark}"


if __name__ == "__main__":
    main()
