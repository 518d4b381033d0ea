"""The one exception that users are meant to read."""


class GvtzooError(ValueError):
    """Something the user can mend, in one line: what is wrong, the value, what to do."""
