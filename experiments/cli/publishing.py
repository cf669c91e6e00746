"""`maml-bench publish`: a run kept in the repository, with all that its tables and plots are made from."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.screen import Results, console, print_warnings, refuse

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
PARTS = ("cells", "tables", "plots")
OLD = ("cells", "tables")  # one of which tells an earlier run from something else


def publish(
    machine: Annotated[str, typer.Argument(help="What to call the run: a plain folder name.", metavar="MACHINE")],
    results: Results = Path("results"),
    into: Annotated[Path, typer.Option(help="The folder of published runs.", metavar="DIR")] = Path(
        "results/published"
    ),
) -> None:
    """Render a run, and copy its cells, tables and plots to results/published/MACHINE, to be committed.

    What was published under that name before is replaced as a whole. A row of other sources than today's is refused.
    """
    from analysis.render import NothingToRender, without_collector
    from analysis.render import render as render_all
    from analysis.store.load import MixedDigests
    from experiments.harness.store import Store

    target = into / machine
    if not PLAIN.fullmatch(machine):
        refuse(f"{machine!r} is no plain folder name: letters, digits, and . _ + - after the first")
    if target.exists() and not any((target / part).is_dir() for part in OLD):
        refuse(f"{target} is there already, and no run")
    if target.resolve() == results.resolve():
        refuse(f"{results} is what was published as {machine}")
    if not any((results / "cells").glob("*/*/*.json")):
        refuse(f"nothing to publish in {results}: it has no cells; run `maml-bench run` first")
    with Store(results).alone(lambda: console.print(f"a run is at work in {results}: waiting until it ends")):
        try:
            with without_collector(), console.status("rendering tables and plots"):
                rendered = render_all(results)
        except (MixedDigests, NothingToRender) as error:
            refuse(str(error))
            return
        cells = [cell for experiment, _ in rendered.frames.values() for cell in experiment.cells]
        if old := [cell for cell in cells if cell.age]:
            first = f"{old[0].file.removeprefix('cells/').rpartition('/')[0]}/{old[0].implementation}"
            refuse(f"{len(old)} of {len(cells)} cells have {old[0].age}, such as {first}: measure again, or remove")
        replace(target, results)
    print_warnings(rendered.warnings)
    print_warnings(doubts({cell.commit for cell in cells}))
    files = sum(path.is_file() for path in target.rglob("*"))
    for line in (
        f"written: {target}, {len(cells)} cell{'s' * (len(cells) > 1)} in {files} files",
        f"to be committed: git add --all {target}",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def replace(target: Path, results: Path) -> None:
    """Put the run of a results folder where another one may lie; what is hidden or damaged stays behind."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".publish-") as folder:
        new = Path(folder, "new")
        for part in PARTS:
            if (results / part).is_dir():
                shutil.copytree(results / part, new / part, ignore=shutil.ignore_patterns(".*", "*.damaged"))
        if target.exists():
            target.rename(Path(folder, "old"))
        new.rename(target)


def doubts(commits: set[str]) -> Iterator[str]:
    """What a reader of the published run will not be able to look up, a line each."""
    if "" in commits:
        yield "some cells name no commit: they were measured without git, or before cells did"
    if changed := sorted(commit for commit in commits if " " in commit):
        yield f"measured with changes that no commit has: {', '.join(changed)}"
