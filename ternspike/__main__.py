"""Make ``python -m ternspike`` the command line."""

from ternspike.cli import main

main()
