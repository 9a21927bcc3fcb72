"""Drawing the report of a run."""

from pathlib import Path


def draw(folder: Path, data_dir: Path | None, *, force: bool = False) -> None:
    """Draws the report, unless it was drawn from these very tables by this version."""
    from dpbench import __version__
    from dpbench.jobs.keys import key_of
    from dpbench.jobs.replace import replace_text
    from dpbench.study.run import load

    tables = [(folder / f"{name}.csv").read_text() for name in ("cells", "attacks")]
    stamp, key = folder / "store" / "report.key", key_of([__version__, *tables])
    drawn = stamp.exists() and stamp.read_text() == key and (folder / "report.html").exists()
    if drawn and not force:
        return
    from dpbench.report.render import render

    render(load(folder, data_dir=data_dir), folder)
    if stamp.parent.is_dir():  # a folder that came from elsewhere may have tables alone
        replace_text(stamp, key)
