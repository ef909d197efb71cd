"""What mkdocs does beside its own: the list of decisions, and links to files outside of docs/.

mkdocs loads this file by its path (mkdocs.yml).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"(?<!!)\[((?:[^\]\[]|\[[^\]]*\])*)\]\(((?:\.\./)+[^)\s#]+)(#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """Put every decision into the navigation, and pages that no section lists at the end of their section."""
    docs = Path(config["docs_dir"])
    listed = {page for section in config["nav"] for pages in section.values() for page in pages}
    for section in config["nav"]:
        for title, pages in section.items():
            if title == "Decisions":
                pages += ["adr/README.md", *(f"adr/{path.name}" for path in sorted((docs / "adr").glob("[0-9]*.md")))]
            elif isinstance(pages, list):
                folder = Path(pages[0]).parent
                here = [f"{folder}/{path.name}" for path in sorted((docs / folder).glob("*.md"))]
                pages += [page for page in here if page not in listed]
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Add the list of decisions to their page, and replace links that leave docs/ by the path."""
    source = Path(page.file.abs_src_path)
    if page.file.src_uri == "adr/README.md":
        markdown += "\n" + "\n".join(_decisions(source.parent)) + "\n"
    docs = Path(config["docs_dir"]).resolve()

    def outside(match: re.Match[str]) -> str:
        target = (source.parent / match[2]).resolve()
        if target.is_relative_to(docs):
            return match[0]
        if not target.exists():
            raise FileNotFoundError(f"{page.file.src_uri}: {match[2]} does not exist")
        path = os.path.relpath(target, _ROOT)
        if config["repo_url"]:
            return f"[{match[1]}]({config['repo_url'].rstrip('/')}/blob/main/{path}{match[3] or ''})"
        return match[1] if path in match[1] else f"{match[1]} (`{path}`)"

    return _LINK.sub(outside, markdown)


def _decisions(folder: Path) -> list[str]:
    """Return a line for each decision: its title, and its page."""
    lines = []
    for path in sorted(folder.glob("[0-9]*.md")):
        title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        lines.append(f"- [{title}]({path.name})")
    return lines
