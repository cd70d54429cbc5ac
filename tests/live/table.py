"""Rows of a run: what was seen, and whether that is right."""


class Table:
    """Prints rows, and knows whether all were right."""

    def __init__(self):
        self.all_right = True

    def row(self, what, seen, is_right=True):
        self.all_right &= is_right
        print(f"{what:<82} {seen:>14}{'' if is_right else '   WRONG'}", flush=True)
