"""A cloud in a box: AWS's API, real S3, and machines that really run. `README.md` tells how to use it."""

from __future__ import annotations
