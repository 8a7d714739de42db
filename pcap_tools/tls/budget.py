"""Bounds what all recoveries of one reading may cost together: an attacker can make many connections."""


class Budget:
    """How many decryptions may still be tried."""

    def __init__(self, trials: int) -> None:
        self.left = trials

    def take(self) -> bool:
        """Use one; False: there are none left."""
        self.left -= 1
        return self.left >= 0
