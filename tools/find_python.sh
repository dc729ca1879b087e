#!/bin/sh
# Print the command of a Python that is 3.11 or newer. $PYTHON decides when it is set.
suits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, '"$2"'))' >/dev/null 2>&1; }

if [ -n "${PYTHON:-}" ]; then
    suits "$PYTHON" 99 && { echo "$PYTHON"; exit 0; }
    echo "PYTHON=$PYTHON is not a Python 3.11 or newer" >&2
    exit 1
fi
for newest in 13 99; do # the versions constraints.txt was made for come first
    for candidate in python3 python3.13 python3.12 python3.11 python; do
        suits "$candidate" "$newest" && { echo "$candidate"; exit 0; }
    done
done
echo "No Python 3.11 or newer was found. Install one, or name it: make PYTHON=/path/to/python3.12 test" >&2
exit 1
