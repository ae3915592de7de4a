"""`python -m mambacl`."""

from mambacl.cli import main

if __name__ == "__main__":
    main()
