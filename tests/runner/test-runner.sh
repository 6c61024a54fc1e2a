#!/bin/bash
# tests/run counts what others print; this sees that it can't be fooled.  A small project of scripts, each with one defect,
# is run by a copy of it.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
count=0

mkdir -p "$work"/tests/a "$work"/scripts
cp "$root"/tests/run "$work"/tests/
cp "$root"/scripts/build "$work"/scripts/
echo "project('scratch', 'c')" >"$work"/meson.build

counts() {	# what the last line must be, exit status, sentence; the script under test comes on standard input
	count=$((count + 1))
	{ echo '#!/bin/sh'; cat; } >"$work"/tests/a/test-it
	chmod +x "$work"/tests/a/test-it
	local out status=0
	out=$("$work"/tests/run 2>&1) || status=$?
	if [ "$(echo "$out" | tail -1)" = "$1" ] && [ $status = "$2" ]; then
		echo "ok $count - $3"
	else
		echo "not ok $count - $3"
		printf '%s\nexit status %s, wanted %s: %s\n' "$out" $status "$2" "$1" | sed 's/^/# /'
	fi
}

counts "2 passed, 0 failed, 1 skipped" 0 "passes and skips are counted" <<'END'
echo 1..3; echo ok 1 - one; echo ok 2; echo "ok 3 - three # SKIP no reason to"
END
counts "1 passed, 1 failed, 0 skipped" 1 "a failed result is counted" <<'END'
echo 1..2; echo ok 1 - one; echo not ok 2 - two; exit 1
END
counts "0 passed, 0 failed, 1 skipped" 0 "cmocka's way to skip is understood" <<'END'
echo 1..1; echo "not ok 1 # SKIP one"
END
counts "0 passed, 0 failed, 1 skipped" 0 "a whole program may be skipped" <<'END'
echo "1..0 # SKIP no kernel"
END
counts "1 passed, 1 failed, 0 skipped" 1 "fewer results than planned are a failure" <<'END'
echo 1..3; echo ok 1 - one
END
counts "2 passed, 1 failed, 0 skipped" 1 "more results than planned are a failure" <<'END'
echo 1..1; echo ok 1 - one; echo ok 2 - two
END
counts "1 passed, 1 failed, 0 skipped" 1 "no plan is a failure" <<'END'
echo ok 1 - one
END
counts "1 passed, 1 failed, 0 skipped" 1 "an exit status is a failure, though all results are good" <<'END'
echo 1..1; echo ok 1 - one; exit 3
END
counts "1 passed, 1 failed, 0 skipped" 1 "dying of a signal is a failure, though all results are good" <<'END'
echo 1..1; echo ok 1 - one; kill -SEGV $$
END
counts "1 passed, 1 failed, 0 skipped" 1 "processes left behind are a failure, and are ended" <<'END'
echo 1..1; echo ok 1 - one; sleep 1000 &
END
counts "1 passed, 1 failed, 0 skipped" 1 "taking too long is a failure" <<'END'
# timeout: 1
echo 1..1; echo ok 1 - one; sleep 1000
END
counts "1 passed, 1 failed, 0 skipped" 1 "giving up is a failure" <<'END'
echo 1..1; echo ok 1 - one; echo "Bail out! no memory"
END
rm "$work"/tests/a/test-it
count=$((count + 1))
if out=$("$work"/tests/run 2>&1); then
	echo "not ok $count - no tests at all are a failure"
else
	echo "ok $count - no tests at all are a failure"
fi
echo "1..$count"
