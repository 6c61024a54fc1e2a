#!/bin/bash
# timeout: 300
# The notification hand-shakes, proved: each model holds as it is, and each barrier taken out gives a counter-example.
# Then: each barrier that the models need stands in vio/ring, under its letter.
#
# What this shows and what not.  With buffers that drain in order (x86) the fences of C and D are needed and the releases are
# not: stores are never reordered there.  With buffers that drain in any order (-DPSO; a weak machine's stores) the releases
# of A and B are needed.  Why acquires are needed no store buffer can show; there the models let the later load go first.
# The models are small (2 or 3 places, 5 buffers), and they are not the code: the last tests keep the two together.
set -u
here=$(cd "$(dirname "$0")" && pwd)
ring=$here/../../vio/ring
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
count=0

result() {	# status, sentence, text to show when it failed
	count=$((count + 1))
	if [ "$1" = 0 ]; then echo "ok $count - $2"; return; fi
	echo "not ok $count - $2"
	echo "$3" | head -20 | sed 's/^/# /'
}

search() {	# model, defines...: prints what pan finds
	local model=$1
	shift
	cd "$work" && rm -f pan* ./*.trail && cp "$here"/*.pml . &&
		spin "$@" -a "$model.pml" 2>&1 && gcc -w -O0 -DSAFETY -o pan pan.c 2>&1 && timeout 100 ./pan -m100000 2>&1
}

holds() {	# sentence, model, defines...
	local sentence=$1 out
	shift
	out=$(search "$@")
	echo "$out" | grep -q 'errors: 0$' && ! echo "$out" | grep -q -e 'max search depth too small' -e 'interrupted'
	result $? "$sentence" "$out"
}

fails() {	# what is violated, sentence, model, defines...
	local violated=$1 sentence=$2 out
	shift 2
	out=$(search "$@")
	echo "$out" | grep -q -F "assertion violated $violated"
	result $? "$sentence" "$out"
}

prove() {	# model, its name, defines...
	local model=$1 name=$2
	shift 2
	holds "$name: no wake-up is lost, no buffer is seen too early" "$model" "$@"
	holds "$name: nor where stores drain in any order" "$model" "$@" -DPSO
	for fence in C_DRIVER C_DEVICE D_DEVICE D_DRIVER; do
		fails " !(lost_wake_up)" "$name: without fence $fence a wake-up is lost" "$model" "$@" -DNO_FENCE_$fence
	done
	for letter in A B; do
		[ $letter = A ] && seen="(v==served)" || seen="(v==got)"
		holds "$name: release $letter is not needed where stores drain in order" "$model" "$@" -DNO_RELEASE_$letter
		fails "$seen" "$name: without release $letter a buffer is seen too early" "$model" "$@" -DPSO -DNO_RELEASE_$letter
		fails "$seen" "$name: without acquire $letter a buffer is seen too early" "$model" "$@" -DNO_ACQUIRE_$letter
	done
}

stands() {	# file, letter, function, requirements
	local lines
	lines=$(grep "barrier $2 \*/" "$ring/$1.c")
	[ -n "$lines" ] && ! echo "$lines" | grep -q -v "$3("
	result $? "$1.c: barrier $2 is $3()$4" "${lines:-there is none}"
}

prove split "split, event index"
prove split "split, flags" -DFLAGS
prove packed "packed, event index"
prove packed "packed, flags" -DFLAGS

stands drvq_split A vio_shared_release " {split-drv-26; only us}"
stands drvq_split B vio_shared_acquire ""
stands drvq_split C vio_shared_fence " {split-drv-27; only us}"
stands drvq_split D vio_shared_fence ""
stands devq_split A vio_shared_acquire ""
stands devq_split B vio_shared_release ""
stands devq_split C vio_shared_fence ""
stands devq_split D vio_shared_fence ""
stands drvq_packed A vio_packed_release " {packed-drv-16; only us}"
stands drvq_packed B vio_packed_acquire ""
stands drvq_packed C vio_shared_fence " {packed-drv-17; only us}"
stands drvq_packed D vio_shared_fence ""
stands devq_packed A vio_packed_acquire ""
stands devq_packed B vio_packed_release ""
stands devq_packed C vio_shared_fence ""
stands devq_packed D vio_shared_fence ""
echo "1..$count"
