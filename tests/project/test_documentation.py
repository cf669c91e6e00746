"""README and docs: short, true to the code, and every link, command and example in them works."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer.main

import baselines
from experiments.__main__ import app
from experiments.cli import reference
from experiments.harness import experiment
from experiments.problems.tasks.stream import Stream
from tests.project.examples import EXAMPLE, PAGES, ROOT, examples

PUBLISHED = sorted((ROOT / "results" / "published").rglob("*.md"))
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
ROUNDING = ("experiments/rounding.py", "analysis/pages/rounding.py")
RUN_ELSEWHERE = {"my_maml.py", "nested_grad.py", "train.py", *ROUNDING}  # by test_audit and test_examples
COMPILED_ONLY = {"slurm.py"}  # it waits for a cluster


def names_in(text: str) -> dict[str, Any]:
    """What a script defines."""
    namespace: dict[str, Any] = {}
    exec(text, namespace)
    return namespace


def test_the_readme_is_one_page() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 150
    assert len(readme.encode()) <= 12_000


# -- links


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)}


def links(text: str) -> Iterator[str]:
    text = re.sub(r"^```.*?^```$|`[^`\n]+`(?!\])", "", text, flags=re.M | re.S)
    yield from re.findall(r"\]\((?!https?:)([^)\s]+)\)", text)
    yield from re.findall(r'<img src="(?!https?:)([^"]+)"', text)


@pytest.mark.parametrize("page", [*PAGES, *PUBLISHED], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_and_anchor_resolves(page: Path) -> None:
    for link in links(page.read_text()):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_links_of_the_walk_through_and_pages_that_code_names_exist() -> None:
    notebook = (ROOT / "docs" / "walkthrough.ipynb").read_text()
    assert all((ROOT / "docs" / link).exists() for link in re.findall(r"\]\(([a-z]+\.md)\)", notebook))
    for folder in ("analysis", "baselines", "experiments", "tests"):
        for file in (ROOT / folder).rglob("*.py"):
            for name in re.findall(r"docs/\w+\.(?:md|ipynb)", file.read_text()):
                assert (ROOT / name).exists(), f"{file.relative_to(ROOT)}: {name}"


def test_every_page_is_reached_from_the_readme() -> None:
    reached = set(links((ROOT / "README.md").read_text()))
    assert {f"docs/{page.name}" for page in PAGES[1:]} <= {link.partition("#")[0] for link in reached}


# -- commands


def shown_commands() -> Iterator[list[str]]:
    """The words after `maml-bench` of every command line that a page shows in a block."""
    for page in PAGES:
        for block in re.findall(r"^```(?:sh|console)\n(.*?)^```$", page.read_text(), re.M | re.S):
            for line in block.splitlines():
                if found := re.match(r"(?:\$ |\.venv/bin/)?maml-bench (.*)|.* -m experiments (.*)", line):
                    words = shlex.split(found[1] or found[2], comments=True)
                    if not any(word.startswith("[") for word in words):  # usage of the reference
                        yield words


def test_every_command_in_a_block_can_be_parsed() -> None:
    commands = list(shown_commands())
    assert len(commands) > 25
    for name, *arguments in commands:
        COMMANDS[name].make_context(name, arguments)  # raises where an option is unknown


def test_every_command_in_prose_has_the_options_that_it_is_shown_with() -> None:
    for page in PAGES:
        for name, rest in re.findall(r"`maml-bench ([a-z]+)([^`]*)`", page.read_text()):
            known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
            assert set(re.findall(r"--[a-z-]+", rest)) <= known, f"{page.name}: maml-bench {name}{rest}"


def test_the_reference_of_the_command_line_is_what_the_commands_say() -> None:
    assert reference.PAGE.read_text() == reference.page(app), "run `make docs`"


# -- what there is


def test_every_implementation_and_experiment_is_listed() -> None:
    page = (ROOT / "docs" / "implementations.md").read_text()
    assert all(f"[`{name}`](../{file.relative_to(ROOT)})" in page for name, file in baselines.names().items())
    page = (ROOT / "docs" / "extending.md").read_text()
    for name in experiment.names():
        assert f"[`{name}`](../{experiment.file(name)})" in page, name


# -- examples


def test_every_python_block_is_an_example_that_is_run_or_compiled() -> None:
    blocks = sum(page.read_text().count("```python\n") for page in PAGES)
    shown = examples()
    assert blocks == len([m for page in PAGES for m in EXAMPLE.findall(page.read_text())])
    assert shown.keys() == RUN_ELSEWHERE | COMPILED_ONLY | {"parabola.py", "my_net.py"}
    for name, text in shown.items():
        compile(text, name, "exec")


def test_no_other_file_has_an_examples_name() -> None:
    files = {file.name for folder in ("docs", "baselines", "experiments") for file in (ROOT / folder).rglob("*.py")}
    assert not files & examples().keys()


def test_the_example_of_a_distribution_of_tasks_makes_meta_batches() -> None:
    family = names_in(examples()["parabola.py"])["FAMILY"]
    batch = Stream(family, seed=0, tasks=3, shots=5, queries=7).batch(0)
    assert [part.shape for part in batch] == [(3, 5, 1), (3, 5, 1), (3, 7, 1), (3, 7, 1)]
    fits = [np.polyfit(x[:, 0], y[:, 0], 2, full=True) for x, y in zip(batch.query_x, batch.query_y, strict=True)]
    assert all(residual < 1e-20 for _, (residual,), *_ in fits)
    assert len({round(curvature, 9) for (curvature, *_), *_ in fits}) == 3


def test_the_example_of_a_network_goes_from_points_to_points() -> None:
    network = names_in(examples()["my_net.py"])["make"]()
    assert network(torch.zeros(4, 1)).shape == (4, 1)
