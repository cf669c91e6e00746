"""What cannot be done, told to the user in one line with exit code 2; without torch, for commands that need none."""


class BadRequest(ValueError):
    """What was asked for cannot be done; the message says what was wrong and what is allowed."""


class NotWritable(ValueError):
    """The results folder cannot be written; the message names it."""
