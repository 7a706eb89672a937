#!/bin/bash
# SPDX-License-Identifier: MIT
#
# USDT probes, as tools find them: test/probes_test.sh BUILD
#
# builds: dev release
source "$(dirname "$0")/shell.sh"
build_settings
names='cancel goroutine__end goroutine__park goroutine__ready goroutine__spawn handoff leak__found steal'
if ! echo '#include <sys/sdt.h>' | "$compiler" -E - >/dev/null 2>&1; then
    echo 'probes_test: skipped: no sys/sdt.h (systemtap-sdt-dev)'
    finish
fi
ok 'alike.c compiles' "$compiler" -std=gnu11 -O1 -g -I"$root/include" "$root/test/tools/alike.c" \
    "$build/libbelay.a" -lpthread -o "$work/alike"
[ -x "$work/alike" ] || finish
readelf -n "$work/alike" >"$work/notes"
ok "its notes have $names" cmp <(awk '/Provider: belay/ { getline; print $2 }' "$work/notes" | sort -u) \
    <(printf '%s\n' $names)
awk '/Name: goroutine__park/ { getline; getline; if (NF == 4) n++; else bad = 1 } END { exit bad || !n }' "$work/notes" &&
    pass || fail 'arguments' 'a probe of goroutine__park has not three'
command -v gdb >/dev/null 2>&1 || finish
run gdb -q -nx -batch "$work/alike" -ex 'info probes stap belay'
for name in $names; do expect_out "gdb knows $name" "^stap +belay +$name "; done
run gdb -q -nx -batch "$work/alike" -ex 'break -probe-stap belay:goroutine__spawn' -ex run \
    -ex 'printf "id %d\n", (int)$_probe_arg0' -ex 'info symbol $_probe_arg1' -ex kill
if grep -qE 'not permitted|Could not trace|ptrace' "$work/err"; then
    echo 'probes_test: partly skipped: no debugging of programs here'
else
    expect_out 'a goroutine is started: its number' '^id [1-9][0-9]*$'
    expect_out 'and its function' ' in section \.text'
fi
finish
