"""The commands of `mainstay`. Their help is plain text: with rich, which typer would take, it needs twice the time."""

import os

os.environ.setdefault("TYPER_USE_RICH", "false")
