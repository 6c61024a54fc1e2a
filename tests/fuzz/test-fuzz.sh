#!/bin/sh
# timeout: 240
# Each fuzz target, on its kept inputs and some thousands more: a crash that anyone could have found is found here.
exec "$(dirname "$0")/../../fuzz/run" --tap --runs=3000
