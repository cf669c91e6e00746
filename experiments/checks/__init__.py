"""Questions the tool asks about itself. One file is one experiment, like those beside this folder."""
