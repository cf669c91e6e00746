"""Fill docs/findings.md, and the tables that other pages quote, from the published results.

`python -m analysis.findings` (`make findings`) writes

- `docs/findings.md` from the template `findings.md.in` beside this file, in which every number is looked up;
- what stands between `<!-- filled: NAME -->` and `<!-- end -->` in README.md and docs/scale.md.

Every number comes from the CSV files in `results/published/RUN/tables`, by implementation and case. A row, column or
figure that is not there is an error of one line. So is a sentence that the published numbers no longer support: a
template states what it says with `claim`.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import jinja2

from analysis import text
from analysis.findings.published import Missing, Run, read
from analysis.findings.tables import REGIONS, claim, correctness, exponents, over_seeds

ROOT = Path(__file__).parents[2]
TEMPLATE = Path(__file__).with_name("findings.md.in")
FINDINGS = Path("docs", "findings.md")
FILLED = (Path("README.md"), Path("docs", "scale.md"))
RUNS = {
    "reference": "cpu-amd-epyc-2-cores",
    "timed": "cpu-amd-epyc-2-cores-reference",
    "judged": "cpu-amd-epyc-2-cores-correctness",
    "growth": "cpu-amd-epyc-2-cores-growth",
    "one_graph": "cpu-amd-epyc-2-cores-one-graph",
}
"""The published runs, by the name that templates give them."""
_REGION = re.compile(r"(<!-- filled: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill_pages(root: Path = ROOT) -> dict[Path, str]:
    """Return the text of every page that is filled, by its path within the project."""
    published = root / "results" / "published"
    runs = {word: Run(name, published) for word, name in RUNS.items()}
    pages = {FINDINGS: text.wrap(_fill_template(runs, published))}
    for page in FILLED:
        pages[page] = _fill_regions((root / page).read_text(), runs)
    return pages


def main() -> int:
    """Write every page; if a number is missing, print which in one line and write none."""
    try:
        pages = fill_pages()
    except Missing as error:
        print(f"findings: {error}", file=sys.stderr)
        return 1
    for page, content in pages.items():
        (ROOT / page).write_text(content)
        print(f"written: {page}")
    return 0


def _fill_template(runs: Mapping[str, Run], published: Path) -> str:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    functions = {
        "correctness": correctness,
        "exponents": exponents,
        "over_seeds": over_seeds,
        "claim": claim,
        "number": text.number,
    }
    template = environment.from_string(TEMPLATE.read_text())
    return template.render(**runs, **functions, compatibility=read(published / "compatibility" / "compatibility.csv"))


def _fill_regions(page: str, runs: Mapping[str, Run]) -> str:
    return _REGION.sub(lambda region: f"{region[1]}\n{text.wrap(REGIONS[region[2]](runs))}\n{region[3]}", page)


if __name__ == "__main__":
    sys.exit(main())
