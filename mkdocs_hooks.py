"""What the documentation site adds to docs/: folders in the navigation, API pages, results.

Pages of docs/ link to pictures and tables in results/reference. The site gets copies of these. A
link to any other file of the repository becomes its path.
"""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent
RESULTS = "results/reference"
API = {
    "dpbench": "Runs, components and errors: what `import dpbench` gives.",
    "dpbench.defenses.base": "The base class of defenses, and the stages it may change.",
    "dpbench.attacks.base": "The base class of attacks, and what an attack may see.",
    "dpbench.attacks.toolbox": "Building blocks that authors of attacks may import.",
    "dpbench.metrics": "ROC curves, rates at fixed FPRs, intervals and comparisons.",
    "dpbench.privacy": "Accounting, bounds and audits as pure functions.",
    "dpbench.testing": "Checks of defenses and attacks.",
    "dpbench.jobs": "Content-addressed work: jobs, the store and the workers.",
}
_OUTSIDE = re.compile(r"(!?)\[([^\]]*)\]\(((?:\.\./)+)([^)#\s]+)(#[^)\s]*)?\)")


def api_pages() -> dict[str, str]:
    """Returns the text of every API page by its path."""
    pages = {}
    for name, purpose in API.items():
        folder = ROOT / name.replace(".", "/")
        modules = [name]
        if folder.is_dir() and name in ("dpbench.attacks.toolbox", "dpbench.jobs"):
            modules = [f"{name}.{path.stem}" for path in sorted(folder.glob("[a-z]*.py"))]
        blocks = "\n\n".join(f"::: {module}" for module in modules)
        pages[f"api/{name}.md"] = f"# {name}\n\n{purpose}\n\n{blocks}\n"
    return pages


def expanded(entry: Any) -> Any:
    """Returns an entry of the navigation with every folder replaced by its pages."""
    match entry:
        case list():
            return [expanded(item) for item in entry]
        case dict():
            return {title: expanded(item) for title, item in entry.items()}
        case str() if entry.endswith("/"):
            made = [path for path in api_pages() if path.startswith(entry)]
            folder = ROOT / entry if entry.startswith(RESULTS) else ROOT / "docs" / entry
            return made or [f"{entry}{page.name}" for page in sorted(folder.glob("*.md"))]
    return entry


def on_config(config: Any) -> Any:
    """Fills the navigation."""
    config.nav = expanded(config.nav)
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the API pages, and the finished runs that pages show."""
    from mkdocs.structure.files import File

    for path, text in api_pages().items():
        files.append(File.generated(config, path, content=text))
    for found in sorted((ROOT / RESULTS).rglob("*")):
        if found.suffix in (".png", ".md"):
            name = found.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(found)))
    return files


def on_page_markdown(text: str, page: Any, config: Any, files: Any) -> str:
    """Mends the links that leave docs/."""
    if page.file.src_uri.startswith(RESULTS):
        return text.replace("(../../docs/", "(../../")
    depth = page.file.src_uri.count("/")

    def mended(found: re.Match[str]) -> str:
        picture, label, up, path, anchor = found.groups()
        if up.count("/") <= depth:
            return found[0]
        if path.startswith(RESULTS):
            return f"{picture}[{label}]({'../' * depth}{path}{anchor or ''})"
        return f"{label} (`{path}`)"

    return _OUTSIDE.sub(mended, text)
