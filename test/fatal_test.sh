#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What fatal errors, crashes, deadlocks and leaks print, word for word, and how the process ends.
#
#     test/fatal_test.sh BUILD [-update]
#
# Each test/fatal/FILE.c holds several cases; FILE.txt has the expected text of each: a line
# "== CASE [SETTING…] -> STATUS", and what came on stderr. -update writes the .txt files anew: read
# the diff before believing it.
#
# Not every system lets us sample a goroutine that computes, so here none is.
#
# Left out of the comparison: addresses, the values of registers and signal codes, what a goroutine
# has waited so far, and the numbers of threads. One processor, so that goroutines' numbers are the
# same every time.
#
# builds: release asan
source "$(dirname "$0")/shell.sh"
update=${2:-}
build_settings
# Sanitizers handle crashes themselves.
files='chan sync order map life report freed crash stuck' # which reads no memory with a sanitizer's malloc
case $sanitize in
*address* | *thread*) files='chan sync order map life report' ;;
esac
flags=(-std=gnu11 -O1 -g -fno-omit-frame-pointer -Wall -Wextra)
[ -z "$sanitize" ] || flags+=("-fsanitize=$sanitize")

# Without libbacktrace there are no lines of frames to compare.
frames=1
nm "$build/libbelay.a" 2>/dev/null | grep -q ' T backtrace_pcinfo' || { frames=0; files=${files/ order/}; }

export BELAY_PROCS=1 BELAY_DEBUG=lockorder=1,sample=0 ASAN_OPTIONS=detect_leaks=0
unset BELAY_TRACEBACK BELAY_SUMMARY BELAY_GRACE BELAY_STACK BELAY_ON_LEAK BELAY_ON_DEADLOCK
ulimit -c 0

# Who holds a lock and looks now and then whether it may go on sleeps nearly always.
normalise() {
    sed -E -e "s|$root/||g" -e 's/0x[0-9a-f]+/0x?/g' -e 's/, ([0-9]+s|[0-9]+ minutes)\]:/]:/' \
        -e 's/code=0x\?/code=?/' -e 's/^thread [0-9]+/thread N/' \
        -e 's/holds it, and is itself in sleep$/holds it/' -e 's/was cancelled [0-9]+(ms|s) ago/was cancelled N ago/'
}

# Compared are the program's own frames: those of the C library and of the runtime differ from system
# to system. The one that overflows the stack counts once and without its line: how deep it gets and
# in which instruction it fails depends on the compiler.
own_frames() {
    awk -v frames="$frames" '
        !frames { sub(/, locked at .*/, "") }
        /^goroutine [0-9]+ \[/ || /^thread N \[/ { print; inside = 1; name = last = ""; next }
        /^created by/ || /^$/ || /^(waits on|waits to|holds|labels:|cause:|in scope|closes|sends to|releases|locks|unlocks|lowers|raises|calls|the copy) / { inside = 0; print; next }
        !inside { print; next }
        /^\.\.\.[0-9]+ frames elided/ { if (frames) print "...frames elided..."; next }
        /^\t\(/ { print; next }
        /^\t/ && (name == "deeper" || name == "far") { if (frames && last != name) print name; last = name; next }
        /^\t/ { if (frames && /^\ttest\//) print name "\n" $0; last = name; next }
        { name = $0 }'
}

# The cases of a program, and of some a second time with settings.
cases() { # FILE
    "$work/$1"
    case $1 in
    report)
        echo 'crash_beside BELAY_TRACEBACK=all'
        echo 'crash_beside BELAY_TRACEBACK=none'
        echo 'leak BELAY_ON_LEAK=fail'
        echo 'leak BELAY_ON_LEAK=ignore'
        echo 'grace BELAY_ON_LEAK=fail'
        echo 'grace BELAY_ON_LEAK=ignore'
        echo 'grace_exit BELAY_ON_LEAK=fail'
        echo 'grace_exit BELAY_ON_LEAK=ignore'
        echo 'clean BELAY_SUMMARY=1'
        echo 'leak BELAY_SUMMARY=1'
        ;;
    crash) echo 'segv BELAY_TRACEBACK=none' ;;
    stuck) echo 'senders BELAY_ON_DEADLOCK=exit' ;;
    chan) echo 'close_nil BELAY_TRACEBACK=crash' ;;
    esac
}

for file in $files; do
    golden=$root/test/fatal/$file.txt
    ok "$file.c compiles" "$compiler" "${flags[@]}" -I"$root/include" "$root/test/fatal/$file.c" \
        "$build/libbelay.a" -lpthread -o "$work/$file"
    [ -x "$work/$file" ] || continue
    cases "$file" >"$work/cases"
    : >"$work/all"
    while read -r name settings; do
        setting=(BELAY_GRACE=50ms)
        [ -z "$settings" ] || setting+=("$settings")
        awk -v name="== $name${settings:+ $settings} -> " '
            /^== / { on = index($0, name) == 1 } on && /^belay: / { said = 1 } END { exit !said }' \
            "$golden" && setting+=(SAYS=1)
        for ((tries = 0; tries < 9; tries++)); do
            { run env "${setting[@]}" "$work/$file" "$name"; } 2>/dev/null # bash tells of the signals
            # on a busy machine the finder tells of them before the end does
            { [ "$name" = leak ] && grep -q '^belay: deadlock: ' "$work/err"; } || break
        done
        [[ $name != waited* ]] || cp "$work/err" "$work/$name.said"
        title="== $name${settings:+ $settings} -> $status"
        { echo "$title"; normalise <"$work/err"; echo; } | own_frames >"$work/now"
        cat "$work/now" >>"$work/all"
        if [ "$update" = -update ]; then
            continue
        fi
        awk -v name="== $name${settings:+ $settings} -> " '
            /^== / { on = index($0, name) == 1 } on' "$golden" >"$work/golden"
        if [ "$frames" = 0 ]; then
            own_frames <"$work/golden" >"$work/heads"
            mv "$work/heads" "$work/golden"
        fi
        if diff -u "$work/golden" "$work/now" >"$work/diff"; then
            pass
        else
            fail "$file $name $settings" 'not the text expected'
            sed 's/^/    /' "$work/diff"
        fi
    done <"$work/cases"
    [ "$update" != -update ] || cp "$work/all" "$golden"
    if [ "$file" = report ]; then
        cp "$work/waited.said" "$work/err"
        expect_err 'seconds waited' '^goroutine 2 \[chan receive, [1-9][0-9]*s\]:$'
        cp "$work/waited_running.said" "$work/err"
        expect_err 'seconds run' '^goroutine [0-9]+ \[running, [1-9][0-9]*s\]:$'
    fi
done
finish
