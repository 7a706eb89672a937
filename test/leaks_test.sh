#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The corpus of leaks and deadlocks: each program of test/leaks is run once with two of 1, 2 and 8 processors (compiled
# with -O0, -O2 and -O1), the files in turn, or with all three where names are given or BELAY_LEAKS_ALL is set; and what
# the library says of it is compared with what stands in the comment before it (leaks/leaks.h).
#
#     test/leaks_test.sh BUILD [NAME…]
#
# A program that is to be found goes on until it was, and is then ended, so nothing here depends on how fast the
# machine is. One of which nothing is to be said has to end by itself, with status 0 and without a word.
#
# builds: release asan
source "$(dirname "$0")/shell.sh"
shift
build_settings
procs_list='1 2 8'
in_turn=(1 2 8) turn=0
beside=16 # programs at one time: they wait
patience=${BELAY_LEAKS_PATIENCE:-40} # s

unset BELAY_TRACEBACK BELAY_SUMMARY BELAY_GRACE BELAY_STACK BELAY_ON_LEAK BELAY_ON_DEADLOCK BELAY_DEBUG
export ASAN_OPTIONS=detect_leaks=0 # the programs end with what they leak
ulimit -c 0

level=([1]=-O0 [2]=-O2 [8]=-O1)

# In these builds memory is not read, so only what locks and scopes prove is found; and a goroutine in a system call has
# no stack, since a crash of its search would be the sanitizer's.
case $sanitize in
*address* | *thread*) kinds='fatal global right' procs_list=2 level[2]=-O1 ;; # which compiles in half of the time
*) kinds='' ;;
esac

# The kernel samples those that compute (src/debug/sample.c).
samples() {
    grep -q '^Seccomp:.0' /proc/self/status && [ "$(cat /proc/sys/kernel/perf_event_paranoid)" -le 2 ]
}

# "PROGRAM KIND TEXT", and below a line "FUNCTION@PLACE [REASON] TEXTS" for each goroutine, tab-separated.
expectations() { # FILE
    awk -v file="test/leaks/${1##*/}" '
        { for (rest = $0; match(rest, /@[a-z0-9_]+ \*\//); rest = substr(rest, RSTART + RLENGTH)) {
              tag = substr(rest, RSTART, RLENGTH - 3); place[tag] = file ":" NR } }
        /^\/\*\? / { sub(/^\/\*\? /, ""); on = 1; n++; lines[n] = $0; next }
        on && /^ \*\// { on = 0; next }
        on { sub(/^ \* /, ""); n++; lines[n] = "\t" $0 }
        END { for (i = 1; i <= n; i++) {
                  s = lines[i]; out = ""
                  while (match(s, /@[a-z0-9_]+/)) {
                      tag = substr(s, RSTART, RLENGTH)
                      if (!(tag in place)) { print "no line has " tag > "/dev/stderr"; exit 1 }
                      before = substr(s, 1, RSTART - 1)
                      out = out before (out == "" && before ~ /^\t[a-z0-9_]+$/ ? "@" : "") place[tag]
                      s = substr(s, RSTART + RLENGTH) }
                  print out s } }' "$1"
}

# Compares a report with what is expected of it; says what is missing.
compare() { # EXPECTED, STDERR
    awk -v root="$root/" '
        function said(text, what) { gsub(/ +/, " ", what); return index(text, what) > 0 }
        { gsub(/goroutine [0-9]+/, "goroutine N") } # each processor gives out its own numbers
        FNR == NR && FNR == 1 { kind = $2; text = $0; sub(/^[^ ]+ [^ ]+ ?/, "", text); next }
        FNR == NR { want[++wants] = substr($0, 2); next }
        { gsub(root, ""); all = all $0 "\n"
          if (/^(belay|fatal error): /) fresh = 1
          if (/ already reported: /) fresh = 0 # by the report before
          if (/^$/) { block = 0 }
          else if (/^goroutine N \[/) {
              if (fresh) { blocks = fresh = 0; delete frame; delete head; delete body }
              block = ++blocks; head[block] = $0; frame[block] = "" }
          if (block) { body[block] = body[block] $0 "\n"
                       if (/^\t/ && !/stack unavailable/ && frame[block] == "") frame[block] = last "@" substr($0, 2)
                       if (!/stack unavailable/) last = $0 } }
        END {
            headline["global"] = "fatal error: all goroutines are asleep - deadlock!"
            headline["fatal"] = "fatal error: " text
            headline["deadlock"] = "belay: deadlock: "
            headline["leak"] = "belay: leak: "
            headline["late"] = "was cancelled"
            headline["left"] = "left when the program ended"
            n = split(text, parts, "; ")
            for (i = 1; kind == "said" && i <= n; i++)
                if (index(all, parts[i]) == 0) { print "not said: " parts[i]; exit 1 }
            if (kind == "said") exit 0
            if (index(all, headline[kind]) == 0) { print "no headline: " headline[kind]; exit 1 }
            if (kind == "leak" && all !~ /probably leaked/) { print "not: probably leaked"; exit 1 }
            for (i = 1; i <= wants; i++) {
                w = want[i]
                match(w, / \[[^\]]*\]/)
                where = substr(w, 1, RSTART - 1)
                reason = substr(w, RSTART + 1, RLENGTH - 2)
                n = split(substr(w, RSTART + RLENGTH + 1), parts, "; ")
                found = 0
                why = "no goroutine there with " reason "]"
                for (b = 1; b <= blocks && !found; b++) {
                    if (taken[b] || (frame[b] != where && index(frame[b], where) != 1) || index(head[b], reason) == 0) continue
                    ok = 1
                    for (k = 1; k <= n; k++)
                        if (sub(/^not: /, "", parts[k]) ? index(body[b], parts[k]) : index(body[b], parts[k]) == 0) {
                            ok = 0; why = "not as wanted: " parts[k] }
                    if (ok) { taken[b] = 1; found = 1 } }
                if (!found) { print where ": " why; bad = 1 } }
            for (b = 1; b <= blocks; b++) if (!taken[b] && !bad) { print "one too many: " head[b]; bad = 1 }
            exit bad }' "$1" "$2"
}

# One program with so many processors. Into $work/PROGRAM.PROCS.ok or .bad.
check() { # FILE, PROGRAM, PROCS
    local at=$work/$2.$3 expected=$work/$2.expected kind pid now= said
    local binary=$work/$1.$3
    read -r _ kind _ <"$expected"
    if [ "$kind" = right ]; then
        BELAY_PROCS=$3 timeout -k 2 "$patience" "$binary" "$2" >/dev/null 2>"$at.err" </dev/null
        local status=$?
        if [ $status -eq 0 ] && ! [ -s "$at.err" ]; then : >"$at.ok"; else
            { echo "status $status, and it was to end with 0 and without a word"; } >"$at.bad"
        fi
        return
    fi
    BELAY_PROCS=$3 "$binary" "$2" >/dev/null 2>"$at.err" </dev/null &
    pid=$!
    local ends=$((SECONDS + patience)) alive=1 all never
    exec {never}<> <(:)
    while :; do # starts no process while there is nothing new
        kill -0 "$pid" 2>/dev/null || alive=0
        mapfile -d '' -t all <"$at.err"
        if [ "${all[*]}" != "$now" ] || [ $alive = 0 ]; then
            now=${all[*]}
            if said=$(compare "$expected" "$at.err"); then : >"$at.ok"; break; fi
        fi
        if [ $alive = 0 ] || [ $SECONDS -ge $ends ]; then echo "$said" >"$at.bad"; break; fi
        read -r -t 0.1 -u "$never"
    done
    exec {never}>&-
    [ $alive = 0 ] || kill -9 "$pid"
    wait "$pid" 2>/dev/null
}

flags=(-std=gnu11 -g -fno-optimize-sibling-calls -Wall -Wextra)
[ -z "$sanitize" ] || flags+=("-fsanitize=$sanitize")
for source in "$root"/test/leaks/*.c; do
    file=$(basename "$source" .c)
    [ $# -eq 0 ] || grep -qE "^/\*\? ($(IFS='|' && echo "$*")) " "$source" || continue
    expectations "$source" >"$work/$file.all" || { fail "$file" 'its comments'; continue; }
    left_out=
    [ $# -gt 0 ] || [ -n "${BELAY_LEAKS_ALL:-}" ] || [ "$procs_list" = 2 ] || left_out=${in_turn[turn++ % 3]}
    for procs in $procs_list; do
        [ "$procs" != "$left_out" ] || continue
        last=$procs
        ok "$file.c compiles" "$compiler" "${flags[@]}" "${level[$procs]}" -I"$root/include" -I"$root/src" "$source" \
            "$build/libbelay.a" -lpthread -o "$work/$file.$procs"
    done
    [ -x "$work/$file.$last" ] || continue
    for name in $("$work/$file.$last"); do
        [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
        [[ "$name" != *_sampled ]] || samples || continue
        awk -v name="$name" '/^[^\t]/ { on = $1 == name } on' "$work/$file.all" >"$work/$name.expected"
        if ! read -r _ kind _ <"$work/$name.expected"; then
            fail "$name" 'nothing is said of what to expect'
            continue
        fi
        [ -z "$kinds" ] || [[ " $kinds " == *" $kind "* ]] || continue
        for procs in $procs_list; do
            [ "$procs" = "$left_out" ] || echo "$file $name $procs"
        done
    done
done >"$work/todo" 3>&1
running=0
while read -r file name procs; do
    [ "$procs" -gt 0 ] 2>/dev/null || { echo "$file $name $procs"; continue; }
    [ $((running++)) -lt $beside ] || { wait -n; running=$((running - 1)); }
    check "$file" "$name" "$procs" 2>/dev/null &
done <"$work/todo"
wait
while read -r file name procs; do
    at=$work/$name.$procs
    if [ -e "$at.ok" ]; then pass; continue; fi
    failed=$((failed + 1))
    echo "FAIL $name procs=$procs (test/leaks/$file.c): $(cat "$at.bad" 2>/dev/null)"
    sed "s|$root/||g; s/^/    /" "$at.err" | head -60
done < <(awk 'NF == 3 && $3 ~ /^[0-9]+$/' "$work/todo")
finish
