"""`d2m train`: retrain Dancing2Music, stage by stage."""

from d2m.cli.main import main

if __name__ == "__main__":
    main("train")
