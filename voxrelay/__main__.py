"""`python -m voxrelay` is the command `voxrelay`."""

from voxrelay.main import main

if __name__ == "__main__":
    main()
