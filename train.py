"""`d2m train`: retrain Dancing2Music, stage by stage."""

from d2m.cli.command_line import run
from d2m.cli.train import main

if __name__ == "__main__":
    run(main)
