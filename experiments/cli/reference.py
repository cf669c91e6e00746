"""Write docs/cli.md, the reference of the command line, from the commands themselves.

`python -m experiments.cli.reference` (`make docs`). The text of each command is its own help, so that the page and
`maml-bench COMMAND --help` cannot differ; a test fails where the page is not what this module makes.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import typer.main
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from analysis import text

_KIND = re.compile(r" <(\w+).*>")  # as in `--threads <int>`
_LEFT = ("argument or option", "meaning")
PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
NAME = "maml-bench"
INTRODUCTION = """\
<!-- written by `make docs` from the commands in experiments/cli: edit these, not this page -->

# The command line

`make` only calls it; in a shell it is `.venv/bin/maml-bench`. A command that cannot do what it is asked to says so in
one line, and its exit code is 2. The words are those of the [glossary](glossary.md).

```sh
maml-bench list                                               # what there is, and what is not available and why
maml-bench run cost --implementations unrolled,higher         # measure what is missing
maml-bench run metagradient --implementations learn2learn,nested_grad.py   # an implementation of your own, beside it
maml-bench run training --profile full --seeds 0,1            # paper lengths, two seeds
maml-bench run cost --model my_net.py:make                    # a module of your own: (points, 1) to (points, 1)
maml-bench run cost --profile full --cases 'study-tasks*'     # some cases of an experiment
maml-bench run cost --scheduler tcp://HOST:PORT               # on the workers of a Dask scheduler: see cluster.md
maml-bench audit my_maml.py:meta_step                         # what a function of your own computes: see audit.md
maml-bench regress                                            # compare with the golden values and committed verdicts
maml-bench selfcheck                                          # check the timing against known differences
maml-bench load --profile full                                # 100,000 cells rendered, 50,000 iterations watched
maml-bench fetch                                              # Omniglot, for run fewshot --profile full on a GPU
maml-bench render                                             # tables and plots from what is stored
maml-bench report                                             # all of it on one page, results/report.html
maml-bench publish my-machine                                 # keep a run in results/published, to be committed
maml-bench compare before after                               # two results folders: better, worse, newly failing
maml-bench show cost/tasks10-steps1-shots5-width40-cpu-float32-seed0-threads1/higher   # one cell, as JSON
```

An implementation that is wrong gets the status `wrong` and shows no time. A library that is missing or fails at import
is an `unavailable` row with its reason, while everything else runs; it is tried again when it is there. What ran out of
time or memory is tried again when more is allowed.

In an old environment, or on a bare machine with an accelerator, `python -m experiments.harness cost --results DIR`
measures straight from a checkout: it needs Python ≥ 3.11, NumPy, torch and the libraries that are measured.
`maml-bench render` makes tables of that folder anywhere. Over several GPUs: [scale.md](scale.md).
"""


def page(app: typer.Typer) -> str:
    """Return the reference of all commands of `app` as Markdown, in the order in which they were added."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    blocks = [INTRODUCTION]
    for name, command in group.commands.items():
        assert isinstance(command, TyperCommand)
        blocks += _command(name, command)
    return text.wrap("\n\n".join(blocks))


def _command(name: str, command: TyperCommand) -> Iterator[str]:
    """Yield the blocks of one command: heading, usage, help, and a table of its arguments and options."""
    context = typer.Context(command, info_name=name)
    yield f"## {NAME} {name}"
    pieces = [piece.strip("{}") for piece in command.collect_usage_pieces(context)]
    yield f"```sh\n{' '.join([NAME, name, *pieces])}\n```"
    yield command.help or ""
    parameters = (p for p in command.get_params(context) if isinstance(p, TyperArgument | TyperOption))
    records = [_record(context, p) for p in parameters if "--help" not in p.opts]
    if records:
        written, meanings = zip(*records, strict=True)
        yield text.grid({"argument or option": list(written), "meaning": list(meanings)}, _LEFT)


def _record(context: typer.Context, parameter: TyperArgument | TyperOption) -> tuple[str, str]:
    """Return how one parameter is written and what it means."""
    written, meaning = parameter.get_help_record(context) or ("", "")
    kind = "" if isinstance(parameter, TyperArgument) else lambda match: f" {match[1].upper()}"
    return f"`{_KIND.sub(kind, written)}`", text.escape(meaning)


def main() -> None:
    """Write the page."""
    from experiments.__main__ import app

    PAGE.write_text(page(app))
    print(f"written: {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}")


if __name__ == "__main__":
    main()
