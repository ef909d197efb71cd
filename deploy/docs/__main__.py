"""The checks of the documentation, without building it.

python -m deploy.docs        links and readability; exit code 1 where one fails
python -m deploy.docs cli    write docs/reference/cli.md
python -m deploy.docs wrap   wrap paragraphs with long lines at 100 columns
"""

from __future__ import annotations

import sys

from deploy.docs import changelog
from deploy.docs.markdown import ROOT, broken_links, documents
from deploy.docs.prose import readability, unreadable
from deploy.docs.wrap import wrap
from orchestrator import __version__


def main(arguments: list[str]) -> int:
    """Run the checks, or write the reference of the command line."""
    if arguments == ["cli"]:
        from deploy.docs.command_line import PAGE, reference

        PAGE.write_text(reference(), encoding="utf-8")
        return 0
    paths = documents()
    if arguments == ["wrap"]:
        for path in paths:
            if wrap(path):
                print(f"wrapped: {path.relative_to(ROOT)}")
        return 0
    wrong = changelog.problems(changelog.PATH.read_text(encoding="utf-8"), __version__)
    problems = [*broken_links(paths), *unreadable(paths), *(f"CHANGELOG.md: {each}" for each in wrong)]
    print(f"{'document':52} {'sentences':>9} {'words each':>10} {'longest line':>12}")
    total = words = 0.0
    for path in paths:
        found, name = readability(path), str(path.relative_to(ROOT))
        print(f"{name:52} {found.sentences:9} {found.words:10.1f} {found.columns:12}")
        total, words = total + found.sentences, words + found.sentences * found.words
    print(f"{'in all':52} {total:9.0f} {words / max(total, 1):10.1f}")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
