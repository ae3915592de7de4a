"""`python -m mambacl`."""

from mambacl.cli import main

main()
