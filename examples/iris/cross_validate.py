"""Ten-fold cross-validation of a k-nearest-neighbours classifier on Fisher's Iris data. Needs Python alone.

Prints one line and leaves `metrics.json` in the folder that `sc` keeps as the run's results.
"""

import argparse
import csv
import json
import os
import random
from collections import defaultdict
from pathlib import Path

FOLDS = 10
DATA = Path(__file__).resolve().parent / "iris.csv"


def load():
    with DATA.open(newline="") as file:
        return [([float(x) for x in row[:4]], row[4]) for row in list(csv.reader(file))[1:]]


def scale(rows):
    """Every feature to mean 0 and standard deviation 1, so that none outweighs the others."""
    columns = list(zip(*(features for features, _ in rows)))
    means = [sum(column) / len(column) for column in columns]
    spreads = [
        (sum((x - mean) ** 2 for x in column) / len(column)) ** 0.5 for column, mean in zip(columns, means)
    ]
    return [
        ([(x - mean) / spread for x, mean, spread in zip(features, means, spreads)], species)
        for features, species in rows
    ]


def predict(training, features, k, power, weights):
    """The species with the most votes among the k nearest."""
    near = sorted(
        (sum(abs(a - b) ** power for a, b in zip(features, other)) ** (1 / power), species)
        for other, species in training
    )[:k]
    votes = defaultdict(float)
    for distance, species in near:
        votes[species] += 1 if weights == "uniform" else 1 / (distance + 1e-9)
    return max(sorted(votes), key=votes.__getitem__)


def cross_validate(rows, k, power, weights):
    """The accuracy of each fold, and how often each species was taken for which."""
    rows = rows[:]
    random.Random(1936).shuffle(rows)
    accuracies, confusion = [], defaultdict(lambda: defaultdict(int))
    for fold in range(FOLDS):
        training = [row for place, row in enumerate(rows) if place % FOLDS != fold]
        testing = rows[fold::FOLDS]
        right = 0
        for features, species in testing:
            guess = predict(training, features, k, power, weights)
            confusion[species][guess] += 1
            right += guess == species
        accuracies.append(right / len(testing))
    return accuracies, confusion


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--k", type=int, required=True, help="neighbours that vote")
    parser.add_argument("--power", type=float, required=True, help="1: city blocks; 2: as the crow flies")
    parser.add_argument("--weights", choices=["uniform", "distance"], required=True)
    args = parser.parse_args()

    accuracies, confusion = cross_validate(scale(load()), args.k, args.power, args.weights)
    mean = sum(accuracies) / FOLDS
    spread = (sum((a - mean) ** 2 for a in accuracies) / FOLDS) ** 0.5
    print(f"k={args.k} power={args.power:g} weights={args.weights}: accuracy {mean:.4f} +- {spread:.4f}")

    folder = Path(os.environ.get("SATURN_RUN_LOCAL_RESULTS_DIR", "."))
    metrics = {
        "k": args.k,
        "power": args.power,
        "weights": args.weights,
        "accuracy": round(mean, 6),
        "spread": round(spread, 6),
        "folds": [round(a, 6) for a in accuracies],
        "confusion": confusion,
    }
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")


if __name__ == "__main__":
    main()
