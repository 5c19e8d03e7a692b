"""python -m atmoe: the command line."""

from atmoe.cli.start import main

if __name__ == "__main__":
    main()
