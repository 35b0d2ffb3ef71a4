#!/usr/bin/env bash
# The one-command pilot: sets up what is missing, renders data/pilot, ends with artifacts/report/report.html.
set -euo pipefail
cd "$(dirname "$0")"
exec make pilot "$@"
