"""``python -m promptyard``: the command line."""

from promptyard.cli import main

if __name__ == "__main__":
    main()
