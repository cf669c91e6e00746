"""Declare how the results of `fewshot` are shown."""

from analysis.columns.column import Column, Error
from analysis.page import Curves, Page, Sheet

PAGE = Page(
    question="Do MAML, FOMAML and Reptile learn to classify images from a few examples, and as well as published?",
    columns=(
        Column("ways", "classes in an episode"),
        Column("iterations", "meta-iterations of the training"),
        Column(
            "mode",
            "whether the query images of an episode are normalised together (transduction) or each by itself, "
            "with the support images only",
        ),
        Column("steps", "gradient steps on the support images"),
        Column("alpha", "step size of the inner loop, for the loss that the released code takes, `inner_reduction`"),
        Column("inner_reduction", "how the released code adds up the loss of the inner loop"),
        Column("alpha_effective", "the same step size for the mean over all images that the loss is of"),
        Column(
            "accuracy",
            "percentage of query images told right, over held-out episodes of classes that training never saw; "
            "with several seeds, over these",
        ),
        Column("tasks_half_width", "half of the 95 % interval over the episodes of one seed (1.96 standard errors)"),
        Column("chance", "percentage that guessing tells right"),
        Column("published", "the paper's own percentage"),
        Column("published_half_width", "half of its 95 % interval, as published"),
        Column("source", "where the published number stands, and how sure that is"),
        Error("error_float64", "largest relative error of one meta-gradient in float64, before training"),
        Column("oracle", "what that was judged by"),
    ),
    shown=(
        "mode",
        "steps",
        "alpha_effective",
        "accuracy",
        "tasks_half_width",
        "chance",
        "published",
        "published_half_width",
        "source",
    ),
    figures=(
        Sheet(
            name="fewshot_episodes",
            title="Episodes: what is learned from, and what each query image was taken for",
            series="sheet",
            caption="Classes that training never saw; one image of each class is shown.",
        ),
        Curves(
            name="fewshot_learning",
            title="Accuracy on validation episodes while training",
            series="learning",
            x="iteration",
            y="accuracy",
            together=True,
            xlabel="meta-iterations",
            ylabel="accuracy (%)",
        ),
        Curves(
            name="fewshot_adaptation",
            title="Accuracy on held-out episodes against gradient steps",
            series="adaptation",
            x="step",
            y="accuracy",
            together=True,
            xlabel="gradient steps",
            ylabel="accuracy (%)",
        ),
    ),
)
