"""Each library, used as its own documentation does."""
