"""Read the `metrics.json` of every run below a folder and print the best first.

    python3 examples/iris/summarise.py results/iris
"""

import json
import sys
from pathlib import Path


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "results/iris")
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*/results/metrics.json"))]
    if not found:
        raise SystemExit(f"there is no metrics.json below {folder}: run the batch first")
    found.sort(key=lambda metrics: (-metrics["accuracy"], metrics["spread"], metrics["k"]))
    print(f"{'k':>3}  {'power':>5}  {'weights':8}  accuracy")
    for metrics in found:
        print(
            f"{metrics['k']:>3}  {metrics['power']:>5g}  {metrics['weights']:8}"
            f"  {metrics['accuracy']:.4f} +- {metrics['spread']:.4f}"
        )
    print(f"best of {len(found)}: k={found[0]['k']}, power={found[0]['power']:g}, {found[0]['weights']} weights")


if __name__ == "__main__":
    main()
