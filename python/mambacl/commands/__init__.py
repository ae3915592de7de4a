"""The commands of the command line: each a dataclass of its arguments, and what it does."""
