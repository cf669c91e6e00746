"""Define the command `maml-bench` with its subcommands; only `experiments/cli` knows both experiments and analysis."""

import typer

from experiments.audit.command import audit
from experiments.cli import checks, fetching, measuring, publishing, showing
from experiments.cli.screen import refuse
from experiments.harness.distributed import torchrun
from experiments.harness.packages import refuse_hidden
from experiments.harness.refusals import BadRequest, Gone, NotWritable

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Is this second-order MAML right, and what does it cost?",
)
app.command("audit", short_help="Tell what your meta-gradient computes, and what is wrong with it.")(audit)
app.command("list")(measuring.list_)
app.command()(measuring.run)
app.command(short_help="Make Omniglot's images ready for `run fewshot`.")(fetching.fetch)
app.command(short_help="Check every implementation against the golden values.")(checks.regress)
app.command(short_help="Check the timing against known differences.")(checks.selfcheck)
app.command(short_help="Check a large store and a long run.")(checks.load)
app.command(short_help="Compare two results folders: what is better, what is worse.")(checks.compare)
app.command()(showing.render)
app.command(short_help="Write everything that is stored on one page, for readers.")(showing.report)
app.command()(showing.show)
app.command(short_help="Keep a run in the repository.")(publishing.publish)


def main() -> None:
    """Run the command line; print a refusal as one line, and exit with code 2, or 1 where a run has lost a rank."""
    try:
        refuse_hidden()
        with torchrun.ranks() as executor:
            app(obj=executor)
    except (BadRequest, NotWritable) as error:
        refuse(str(error))
    except Gone as gone:
        refuse(str(gone), code=1)


if __name__ == "__main__":
    main()
