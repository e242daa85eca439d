#!/bin/sh
# Runs each fuzz target of the module for FUZZTIME, FUZZJOBS of them at once, which share
# the processors.
#
# Go before 1.27 now and then ends a target that found nothing with "context deadline
# exceeded": its coordinator races with its own deadline (https://go.dev/issue/75804).
# A target that ends with that and nothing else is run again. Whatever a target finds
# is printed with the file that it was written to, and is no such end.
set -eu
jobs=${FUZZJOBS:-1}

if [ $# -eq 0 ]; then
	go list ./... | while read -r pkg; do
		go test -list '^Fuzz' "$pkg" </dev/null | grep '^Fuzz' | sed "s|^|$pkg |" || true
	done | xargs -n 2 -P "$jobs" sh "$0" target
	exit
fi

pkg=${2:?no package has a fuzz target} target=$3
workers=$((($(getconf _NPROCESSORS_ONLN) + jobs - 1) / jobs))
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# race tells whether the log says of a failure only that the time was over.
race() {
	sed '1,/^--- FAIL: /d' "$log" | tr -d ' \t\n' |
		grep -Eqx 'contextdeadlineexceededFAIL(exitstatus1)?FAIL.*'
}

tries=0
until go test -run '^$' -fuzz "^$target\$" -fuzzminimizetime 5x -fuzztime "${FUZZTIME:-10s}" -parallel "$workers" "$pkg" >"$log" 2>&1; do
	echo "$pkg $target"
	cat "$log"
	tries=$((tries + 1))
	# 255 has xargs begin no other.
	[ $tries -lt 5 ] && race || exit 255
	echo "$target found nothing: its end was Go's (https://go.dev/issue/75804). It is run again."
done
echo "$pkg $target"
cat "$log"
