"""`dpbench gc`: remove files that nothing refers to."""

from collections import defaultdict
from typing import Annotated

import typer

from dpbench.cli.console import console
from dpbench.cli.options import DataOption, FolderArgument, PluginOption


def gc(
    folder: FolderArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
    plugin: PluginOption = None,
    data_dir: DataOption = None,
) -> None:
    """Remove records that no cell refers to, and what dead processes left; live claims stay."""
    from dpbench.jobs.garbage import find_garbage
    from dpbench.study.wanted import wanted

    garbage = find_garbage(folder, wanted(folder, data_dir=data_dir, plugins=plugin or []))
    screen = console()
    sizes: dict[str, list[int]] = defaultdict(list)
    for one in garbage:
        sizes[one.what].append(one.size)
        if dry_run:
            size = f"{_amount(one.size):>9}"
            screen.print(f"{size}  {one.path} ({one.what})", markup=False, soft_wrap=True)
        else:
            one.remove()
    for what, found in sizes.items():
        screen.print(f"{len(found)} x {what}: {_amount(sum(found))}", markup=False)
    done = "would be removed" if dry_run else "removed"
    screen.print(f"{_amount(sum(one.size for one in garbage))} {done}", markup=False)


def _amount(size: int) -> str:
    """Writes a number of bytes with a unit."""
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.4g} GB"
