"""The one exception for a user's mistake, so that commands can tell it from a bug."""


class UserError(Exception):
    """Bad input. The message is one line that names the file, key or value at fault and what was expected.

    Commands print it on stderr and exit with status 2 (`parity.cli`); anything else is a bug and keeps its traceback.
    """

    def __init__(self, message: str):
        super().__init__(" ".join(str(message).split()))
