#!/bin/sh
# Run Python in a job: AUDIORESTORER_EXECUTABLE (rules/common.smk) with this clone's package, or with the installed one.
root=$(cd "$(dirname "$0")/.." && pwd)
if [ -d "$root/audiorestorer" ]; then PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"; export PYTHONPATH; fi
OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}" # spinning OpenMP barriers cost a factor of ten on shared cores
export OMP_WAIT_POLICY
case "$AUDIORESTORER_EXECUTABLE" in */*) export PATH="$(dirname "$AUDIORESTORER_EXECUTABLE"):$PATH" ;; esac
if [ -n "$XDG_CACHE_HOME" ] && [ ! -w "${HOME:-/nowhere}" ]; then # what Matplotlib and IPython keep in a home folder
    export MPLCONFIGDIR="${MPLCONFIGDIR:-$XDG_CACHE_HOME/matplotlib}" IPYTHONDIR="${IPYTHONDIR:-$XDG_CACHE_HOME/ipython}"
fi
if [ -S "${AUDIORESTORER_SOCKET:-}" ]; then # audiorestorer/job_server.py: what is imported there need not be imported again
    exec "${AUDIORESTORER_EXECUTABLE:-python}" -IS "$root/rules/client.py" "$AUDIORESTORER_SOCKET" "$@"
fi
exec "${AUDIORESTORER_EXECUTABLE:-python}" "$@"
