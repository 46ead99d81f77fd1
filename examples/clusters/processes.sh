#!/usr/bin/env bash
# A cluster started by hand: one scheduler, two workers, encrypted, all on this machine.
#
#     bash examples/clusters/processes.sh [FOLDER]
#
# On several machines run the same three commands there, with the scheduler's address in place of
# 127.0.0.1, and FOLDER copied to each: it holds the certificates. Tested by tests/test_clusters.py.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$(mktemp -d)}
python=${PYTHON:-python}
tls=(--tls-ca-file "$folder/ca.pem" --tls-cert "$folder/cert.pem" --tls-key "$folder/key.pem")
export OMP_NUM_THREADS=1 # one thread per worker: the workers share the cores

"$python" "$here/make_certificates.py" "$folder" --host 127.0.0.1

started=()
trap 'kill "${started[@]}" 2>/dev/null || true; wait' EXIT

"$python" -m distributed.cli.dask_scheduler --host 127.0.0.1 --port 0 --protocol tls "${tls[@]}" \
  --dashboard-address 127.0.0.1:0 --scheduler-file "$folder/scheduler.json" &
started+=($!)
for _ in 1 2; do
  "$python" -m distributed.cli.dask_worker --scheduler-file "$folder/scheduler.json" "${tls[@]}" \
    --host 127.0.0.1 --nthreads 1 --dashboard-address 127.0.0.1:0 --local-directory "$folder" &
  started+=($!)
done

address=""
for _ in $(seq 300); do
  address=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["address"])' \
    "$folder/scheduler.json" 2>/dev/null) && break
  sleep 0.1
done

"$python" -m course_lib train --data digits --sizes 64,32,10 --epochs 3 --workers 2 \
  --scheduler "$address" --tls-ca "$folder/ca.pem" --tls-cert "$folder/cert.pem" \
  --tls-key "$folder/key.pem" --checkpoint "$folder/run"
