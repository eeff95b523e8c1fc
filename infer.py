"""`d2m infer`: dance to songs with a trained bundle."""

from d2m.cli.command_line import run
from d2m.cli.infer import main

if __name__ == "__main__":
    run(main)
