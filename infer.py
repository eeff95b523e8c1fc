"""`d2m infer`: dance to songs with a trained bundle."""

from d2m.cli.main import main

if __name__ == "__main__":
    main("infer")
