#!/bin/sh
# Runs each fuzz target of the module in turn, for FUZZTIME.
#
# Go before 1.27 now and then ends a target that found nothing with "context deadline
# exceeded": its coordinator races with its own deadline (https://go.dev/issue/75804).
# A target that ends with that and nothing else is run again. Whatever a target finds
# is printed with the file that it was written to, and is no such end.
set -eu
time=${FUZZTIME:-10s}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# race tells whether the log says of a failure only that the time was over.
race() {
	sed '1,/^--- FAIL: /d' "$log" | tr -d ' \t\n' |
		grep -Eqx 'contextdeadlineexceededFAIL(exitstatus1)?FAIL.*'
}

for pkg in $(go list ./...); do
	for target in $(go test -list '^Fuzz' "$pkg" | grep '^Fuzz' || true); do
		tries=0
		while :; do
			echo "$pkg $target"
			if go test -run '^$' -fuzz "^$target\$" -fuzzminimizetime 5x -fuzztime "$time" "$pkg" >"$log" 2>&1; then
				cat "$log"
				break
			fi
			cat "$log"
			tries=$((tries + 1))
			[ $tries -lt 5 ] && race || exit 1
			echo "$target found nothing: its end was Go's (https://go.dev/issue/75804). It is run again."
		done
	done
done
