#!/bin/sh
# Runs tests in WebAssembly: Pyodide's Python in node. Needs node, npm and pip; works in a temporary folder.
# sh tests/webassembly/run.sh [pytest arguments]; without any, the tests that need neither processes nor threads.
set -eu
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
npm install --silent --prefix "$work" pyodide
# Later releases of hypothesis have compiled parts.
python3 -m pip install --quiet --target "$work/site" attrs pytest 'hypothesis<6.113'
cp "$here/run.mjs" "$work"
if [ $# -eq 0 ]; then
    set -- tests/test_vfs_db/test_contract.py tests/test_vfs_db/test_codec.py tests/test_vfs_db/test_large.py \
        tests/test_ourdb/test_golden.py tests/test_ourdb/test_without_maps.py tests/test_ourdb/test_set_many.py \
        --deselect tests/test_vfs_db/test_large.py::test_ns_times_are_kept_to_the_nanosecond # files there keep milliseconds
fi
node "$work/run.mjs" "$(dirname "$(dirname "$here")")" "$work/site" "$@"
