#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Subtests that end the test program, and what becomes of the others: test/again_test.sh BUILD
#
# builds: dev
source "$(dirname "$0")/shell.sh"
build_settings
belay=$build/belay
[ -x "$belay" ] || finish
case $sanitize in
*thread*) echo 'again_test: skipped: ThreadSanitizer cannot go on after a fork'; finish ;;
esac
export BELAY_CACHE=$work/cache BELAY_GRACE=100ms BELAY_PROCS=2 ASAN_OPTIONS=detect_leaks=0 CC=$compiler TMPDIR=$work
ulimit -c 0
cp "$root/test/testdata/again/again_test.c" "$work"
cd "$work" || exit 2

# The results and how a test has died, a line each, as they are indented; of the last run's output.
results() {
    sed -nE 's/^( *)--- ([A-Z]+: [^ ]+) .*/\1\2/p; s/^( *)the test program ended in it: (.*)/\1\2/p' "$work/out"
}
same() { # NAME FILE, and what is to be in it on stdin
    if diff - "$2" >"$work/err"; then pass; else fail "$1" 'this is different'; fi
}

run "$belay" test -v -run serial .
expect 'subtests that die' 1
results >results
same 'each has its result' results <<'END'
    killed by SIGABRT
    exit status 0
    exit status 2
    killed by SIGABRT
    killed by SIGSEGV
    exit status 2
FAIL: serial
    PASS: serial/passes
    FAIL: serial/aborts
    FAIL: serial/fails
    SKIP: serial/skips
    FAIL: serial/exits
    FAIL: serial/hangs
    FAIL: serial/fails#01
    FAIL: serial/aborts#01
    FAIL: serial/segfaults
    FAIL: serial/is_late
    PASS: serial/passes#01
END
grep '^=== RUN' "$work/out" | sort | uniq -c | sort -nr >begun
ok 'what its body says is printed once' test "$(grep -cE '^ *again_test.c:[0-9]+: [a-z ]+: [01]$' "$work/out")" -eq 11
ok 'no directory is left' test -z "$(find . -maxdepth 1 -name 'belay-test-*')"
ok 'each began once' test "$(wc -l <begun) $(sed -n '1s/^ *\([0-9]*\) .*/\1/p' begun)" = '12 1'

run "$belay" test -run 'serial|between|nested|body|last' .
expect 'the whole file' 1
results >results
same 'what has failed' results <<'END'
FAIL: serial
    FAIL: serial/aborts
        killed by SIGABRT
    FAIL: serial/fails
    FAIL: serial/exits
        exit status 0
    FAIL: serial/hangs
        exit status 2
    FAIL: serial/fails#01
    FAIL: serial/aborts#01
        killed by SIGABRT
    FAIL: serial/segfaults
        killed by SIGSEGV
    FAIL: serial/is_late
        exit status 2
FAIL: nested
    FAIL: nested/first
        FAIL: nested/first/aborts
            killed by SIGABRT
        FAIL: nested/first/fails
    FAIL: nested/second
        FAIL: nested/second/aborts
            killed by SIGABRT
        FAIL: nested/second/fails
FAIL: body
    killed by SIGABRT
    FAIL: body/aborts
        killed by SIGABRT
END
sed -n '/^--- FAIL: serial/,/^--- FAIL: nested/s/^    again_test.c:[0-9]*: \(.*\)/\1/p' "$work/out" | paste -sd " " >said
same 'what bl_subtest has returned' said <<'END'
passes: 1 aborts: 0 fails: 0 skips: 1 exits: 0 hangs: 0 fails: 0 aborts: 0 segfaults: 0 is late: 0 passes: 1
END

run "$belay" test -v -run parallel .
expect 'some of those that run side by side' 1
results | sort -u >results
same 'are found out' results <<'END'
    FAIL: parallel/aborts
    FAIL: parallel/exits
    FAIL: parallel/fails
    PASS: parallel/alone
    PASS: parallel/passes
    SKIP: parallel/skips
    exit status 0
    killed by SIGABRT
FAIL: parallel
END
run "$belay" test -run others .
expect 'subtests that are others each time' 1
ok 'are given up' test "$(results | grep -c 'FAIL: others/')" -eq 2
run "$belay" test -run missed .
expect 'one that is not asked for again' 1
expect_out 'counts' '^    missed/aborts ended the test program, and was not run again$'
run "$belay" test -failfast -run 'serial|last' -v .
expect 'with -failfast' 1
ok 'the first is the last' test "$(grep -c 'ran serial/' "$work/out") $(grep -c 'ran last' "$work/out")" = '2 0'

run "$belay" test -junit results.xml -json -run 'serial|parallel' .
expect 'for other programs' 1
cp "$work/out" events
if command -v python3 >/dev/null; then
    ok 'each test begins and ends once' python3 -c '
import json, collections, xml.dom.minidom
begun, ended = collections.Counter(), {}
for line in open("events"):
    e = json.loads(line)
    name = e.get("Test")
    if e["Action"] == "run":
        begun[name] += 1
    elif e["Action"] in ("pass", "fail", "skip"):
        assert name not in ended, name
        ended[name] = e["Action"]
ended.pop(None)
assert set(begun) == set(ended) and max(begun.values()) == 1, (begun, ended)
assert collections.Counter(ended.values()) == {"fail": 13, "pass": 4, "skip": 2}, ended
cases = {c.getAttribute("name"): c.firstChild.tagName if c.firstChild else "pass"
         for c in xml.dom.minidom.parse("results.xml").getElementsByTagName("testcase")}
assert cases == {n: {"fail": "failure", "skip": "skipped"}.get(a, a) for n, a in ended.items()}, cases'
fi

finish
