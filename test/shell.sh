# SPDX-License-Identifier: MIT
#
# What the shell tests share. Each is started with the build tree as its argument, sources this
# file, runs its checks and ends with `finish`.
#
#   run COMMAND…               runs it; then $status, and $work/out and $work/err
#   expect NAME STATUS         passes if the last run ended with STATUS
#   expect_out NAME REGEX      … and its standard output has a line that matches (grep -E)
#   expect_err NAME REGEX      … and its standard error has one
#   ok NAME COMMAND…           passes if the command succeeds; it may look at $work/out and $work/err
#   can_unshare NAME FLAG      says that NAME is skipped, and fails, where unshare FLAG does not work
#
# shellcheck shell=bash
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(cd "${1:?the build tree}" && pwd) || exit 2
work=$(mktemp -d)
passed=0
failed=0
status=0
trap 'rm -rf "$work"' EXIT
export TSAN_OPTIONS="atexit_sleep_ms=0${TSAN_OPTIONS:+:$TSAN_OPTIONS}" # it would sleep for a second

# What the build was made with: sets compiler and sanitize.
build_settings() {
    local cache=$build/CMakeCache.txt
    compiler=${CC:-cc}
    sanitize=
    if [ -e "$cache" ]; then
        compiler=$(sed -n 's/^CMAKE_C_COMPILER:[^=]*=//p' "$cache")
        sanitize=$(sed -n 's/^BELAY_SANITIZE:[^=]*=//p' "$cache")
    fi
}

pass() { passed=$((passed + 1)); }

# FILE: its first lines, and of the others those that do not tell of a test that passed.
shown() { awk 'NR <= 15 || !/^(=== |--- PASS)/ && said++ < 30' "$1"; }

fail() { # NAME, WHY
    failed=$((failed + 1))
    echo "FAIL $1: $2"
    echo "    command: ${last_run:-}"
    [ -s "$work/ok" ] && shown "$work/ok" | sed 's/^/    says:   /'
    [ -e "$work/out" ] && shown "$work/out" | sed 's/^/    stdout: /'
    [ -e "$work/err" ] && shown "$work/err" | sed 's/^/    stderr: /'
}

run() {
    last_run="$*"
    timeout --foreground -k 2 240 "$@" >"$work/out" 2>"$work/err" </dev/null
    status=$?
}

expect() { # NAME STATUS
    if [ "$status" -eq "$2" ]; then pass; else fail "$1" "status $status, not $2"; fi
}

expect_out() { # NAME REGEX
    if grep -qE -- "$2" "$work/out"; then pass; else fail "$1" "no line of stdout is like $2"; fi
}

expect_err() { # NAME REGEX
    if grep -qE -- "$2" "$work/err"; then pass; else fail "$1" "no line of stderr is like $2"; fi
}

ok() { # NAME COMMAND…
    local name=$1
    shift
    last_run="$*"
    if "$@" >"$work/ok" 2>&1; then pass; else fail "$name" "it failed"; fi
    rm -f "$work/ok"
}

can_unshare() { # NAME FLAG
    run unshare "$2" true
    [ "$status" -eq 0 ] || echo "skip $1: there can be no namespace: $(head -n 1 "$work/err")"
    return "$status"
}

finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
}
