"""Declare how the results of `published` are shown."""

from analysis.columns.column import Column
from analysis.page import Curves, Page, Reproduction, Sketch

PAGE = Page(
    question="Are the published results of MAML on sinusoids reproduced, each on the protocol of its own paper?",
    columns=(
        Column(
            "iterations", "meta-iterations of the protocol; Reptile has 30,000 of its own, or the same share of them"
        ),
        Column("test_shots", "support points per task in testing, and as many query points"),
        Column("steps", "gradient steps on the support points"),
        Column(
            "alpha",
            "step size of these; of pre-training the best on held-out tasks (over several seeds, their mean) of "
            "0.001, 0.003, 0.01, 0.03, 0.1",
        ),
        Column("loss", "mean squared error on the query points, over held-out tasks; with several seeds, over these"),
        Column("tasks_half_width", "half of the 95 % interval over the tasks of one seed (1.96 standard errors)"),
        Column("loss_median", "median over held-out tasks"),
        Column("diverged", "held-out tasks with an error of 100 or more"),
        Column("published", "the paper's own number"),
        Column("published_half_width", "half of its 95 % interval, as published"),
        Column("source", "where the published number stands, and how sure that is"),
        Column(
            "identity", "largest relative difference from unrolled and learn2learn over the first iterations in float64"
        ),
    ),
    shown=("test_shots", "steps", "alpha", "loss_median", "diverged", "identity"),
    tables=(
        Reproduction(
            name="published_verdicts",
            value="loss",
            median="loss_median",
            task_half_width="tasks_half_width",
            published="published",
            half_width="published_half_width",
            by=("test_shots", "steps"),
            against="compiled",
            margin=0.2,
        ),
    ),
    figures=(
        Sketch(
            name="published_sketch",
            title="What adapting to a task looks like",
            series="sketch",
            x="x",
            y="y",
            values=("after_0", "after_1", "after_10"),
        ),
        *(
            Curves(
                name=f"published_adaptation_{shots}",
                title=f"Median loss over held-out tasks against gradient steps, {shots} support points",
                series=f"adaptation_{shots}",
                x="step",
                y="loss_median",
                together=True,
                xlabel="gradient steps",
                ylabel="median error",
            )
            for shots in (5, 10, 20)
        ),
    ),
)
