"""`maml-bench fetch`: data that does not come along."""

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.screen import console, refuse


def fetch(
    folder: Annotated[
        Path, typer.Argument(help="Where the archives lie or go to, and the images.", metavar="DIR")
    ] = Path("data"),
) -> None:
    """Make Omniglot's images ready for `run fewshot`, from its two official archives (16 MB).

    Archives that lie in DIR are taken, others fetched; stopped, the same command goes on from there. Nothing is read
    that does not have the SHA-256 of the official one. `run` looks in data/, or where MAML_BENCH_DATA says.
    """
    from zipfile import BadZipFile

    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from experiments.problems.data import omniglot

    if folder.exists() and not folder.is_dir():
        refuse(f"{folder}: it has to be a folder")
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            tasks = {}

            def progress(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bar.add_task(what, total=total)
                bar.update(tasks[what], completed=done)

            file, characters = omniglot.prepare(folder, progress, omniglot.OFFICIAL, omniglot.SOURCE)
    except BadZipFile as error:
        refuse(f"an archive cannot be read: {error}")
    except (OSError, ValueError) as error:
        refuse(f"{error}; the archives are {' and '.join(omniglot.OFFICIAL)} of {omniglot.SOURCE}")
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from there", style="yellow")
        raise typer.Exit(130) from None
    else:
        console.print(f"{file}: {characters} characters", highlight=False)
