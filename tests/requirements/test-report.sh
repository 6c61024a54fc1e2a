#!/bin/bash
# "make requirements" believes only what it should: made-up logs about the smallest area, entropy, which has three MUSTs.
set -u
here=$(cd "$(dirname "$0")" && pwd)
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
count=0

says() {	# exit status, what the output must hold, sentence; the log comes on standard input
	count=$((count + 1))
	cat >"$logs"/a.tap
	local out status=0
	out=$("$here"/report "$logs" entropy 2>&1) || status=$?
	if [ $status = "$1" ] && echo "$out" | grep -q -e "$2"; then
		echo "ok $count - $3"
	else
		echo "not ok $count - $3"
		printf '%s\nexit status %s, wanted %s\n' "$out" $status "$1" | sed 's/^/# /'
	fi
	rm -f "$logs"/*
}

says 0 'entropy-dev-1 .*Linux in QEMU ' "what is covered is told with who drove it" <<'END'
ok 1 - a {entropy-dev-1; Linux in QEMU}
ok 2 - b {entropy-dev-1, entropy-drv-1 entropy-drv-2; only us}
END
says 1 'neither covered nor excused: entropy-drv-2$' "a MUST that nobody covers is an error" <<'END'
ok 1 - a {entropy-dev-1 entropy-drv-1; only us}
END
says 1 'neither covered nor excused: entropy-drv-2$' "a test that failed covers nothing" <<'END'
ok 1 - a {entropy-dev-1 entropy-drv-1; only us}
not ok 2 - b {entropy-drv-2; only us}
END
says 1 'neither covered nor excused: entropy-drv-2$' "a test that was skipped covers nothing, in either way to say so" <<'END'
ok 1 - a {entropy-dev-1 entropy-drv-1; only us}
ok 2 - b {entropy-drv-2; only us} # SKIP not here
not ok 3 # SKIP b {entropy-drv-2; only us}
END
cat >"$logs"/a.asan.tap <<'END'
not ok 1 - b {entropy-drv-2; only us}
END
says 1 'neither covered nor excused: entropy-drv-2$' "a test that failed in one of its builds covers nothing" <<'END'
ok 1 - b {entropy-drv-2; only us}
ok 2 - a {entropy-dev-1 entropy-drv-1; only us}
END
says 1 'the specification has no entropy-drv-99' "a name that the specification does not have is an error" <<'END'
ok 1 - a {entropy-dev-1 entropy-drv-1 entropy-drv-2; only us}
ok 2 - b {entropy-drv-99; only us}
END
count=$((count + 1))
if "$here"/report "$logs" 2>&1 | grep -q 'type "make test" first'; then
	echo "ok $count - no logs at all are an error"
else
	echo "not ok $count - no logs at all are an error"
fi
echo "1..$count"
