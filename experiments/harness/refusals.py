"""What cannot be done, told to the user in one line with exit code 2; without torch, for commands that need none."""


class BadRequest(ValueError):
    """What was asked for cannot be done; the message says what was wrong and what is allowed."""


class Gone(Exception):
    """The run has lost a rank and ends; the message says which, and what to do."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}; what is finished is kept, and the same command goes on from there")


class NotWritable(ValueError):
    """The results folder cannot be written; the message names it."""
