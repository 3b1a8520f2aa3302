"""What every mistake of the user's has in common; without heavy imports, so that a command can catch it early."""


class WhenwhereError(Exception):
    """Something the user has to put right; says what was expected, what was found and what to do."""
