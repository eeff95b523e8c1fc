"""``python -m d2m`` is the command ``d2m``."""

from d2m.cli.main import main

if __name__ == "__main__":
    main()
