"""What is never used is never imported: asked of fresh processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_version_and_help_import_nothing_that_a_command_needs(checkout: Path) -> None:
    program_text = (
        "import sys, sc.cli; sc.cli.main(sys.argv[1:]);"
        "print(sorted({'yaml', 'boto3', 'botocore', 'argparse', 'multiprocessing'} & set(sys.modules)))"
    )
    for word in ("--version", "--help"):
        ran = subprocess.run(
            [sys.executable, "-c", program_text, word], cwd=checkout, capture_output=True, text=True
        )
        assert ran.stdout.splitlines()[-1] == "[]"


def test_a_folder_needs_no_botocore(tmp_path: Path, checkout: Path) -> None:
    """What a local batch never uses, it never pays for."""
    program = (
        "import sys; from sc.storage import open_storage; s = open_storage()\n"
        "s.put(sys.argv[1] + '/a', b'x'); assert s.get(sys.argv[1] + '/a') == b'x'\n"
        "heavy = {'boto3', 'botocore', 'urllib3', 'http.client', 'ssl'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=checkout, check=True)
