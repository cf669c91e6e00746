"""Define the regression of `images` on 28×28 pixels, the size of Omniglot's images in Finn et al. 2017."""

from experiments.problems.tasks.images import Images

FAMILY = Images("images_28", side=28)
