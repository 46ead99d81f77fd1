#!/bin/bash
# Runs once, when the container is made: make, the browser of the tests, and the environment that
# make looks for. It is filled by conda, whose PyTorch for the CPU is several GB smaller.
set -euo pipefail
apt-get update -q
apt-get install -y -q --no-install-recommends make chromium chromium-driver
conda env create -y -p .venv -f environment.yml
touch .venv/.created .venv/.installed-book .venv/.installed-all
