"""Print which GPU this run was given, and leave the same in its results."""

import json
import os
import shutil
import subprocess
from pathlib import Path


def main():
    shown = {
        "rank": os.environ.get("SATURN_RUN_LOCAL_RANK"),
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "nvidia-smi": [],
    }
    if shutil.which("nvidia-smi"):
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
        shown["nvidia-smi"] = listing.stdout.splitlines()
    for name, value in shown.items():
        print(f"{name}: {value}")
    folder = Path(os.environ.get("SATURN_RUN_LOCAL_RESULTS_DIR", "."))
    (folder / "device.json").write_text(json.dumps(shown, indent=2) + "\n")


if __name__ == "__main__":
    main()
