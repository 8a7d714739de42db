"""`python -m mutewatch` is the command line."""

from mutewatch.cli import main

main()
