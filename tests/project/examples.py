"""What several tests in this folder share."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


EXAMPLE = re.compile(r"<!-- example: (\S+) -->\n```python\n(.*?)```", re.DOTALL)


def examples() -> dict[str, str]:
    """The files that the pages show, by name; one that is shown twice is the same both times."""
    found: dict[str, str] = {}
    for page in PAGES:
        for name, text in EXAMPLE.findall(page.read_text()):
            assert found.setdefault(name, text) == text, f"{page.name} shows another {name}"
    return found
