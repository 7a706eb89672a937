#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The examples: the small ones print what they promise, treegrep prints what grep does.
# test/examples_test.sh BUILD
#
# builds: release asan
source "$(dirname "$0")/shell.sh"
build_settings
unset CC CFLAGS LDFLAGS LDLIBS BELAY_PROCS
[ -z "$sanitize" ] || export CFLAGS=-O1 # which compiles in half of the time
bin=$work/bin
mkdir "$bin"

for source in "$root"/examples/*.c; do
    grep -q '^//belay:libs' "$source" && continue # test/libs_test.sh has those
    name=$(basename "$source" .c)
    ok "build $name" "$build/belay" build -o "$bin/$name" "$source"
done

# ---- The small ones: the same output on any number of processors ----

prints() { # NAME; what is expected on standard input
    local expected procs
    expected=$(cat)
    for procs in 1 2 8; do
        BELAY_PROCS=$procs run "$bin/$1"
        expect "$1 on $procs" 0
        if [ "$(cat "$work/out")" = "$expected" ]; then
            pass
        else
            fail "$1 on $procs" "its output is not as expected"
        fi
        if [ ! -s "$work/err" ]; then pass; else fail "$1 on $procs" "it complains"; fi
    done
}

prints pipeline <<'END'
1000 squares, sum 333833500
END

prints first_error <<'END'
server 0: context canceled
server 1: context canceled
server 2: context canceled
server 3: context canceled
server 4: context canceled
server 5: context canceled
server 6: context canceled
server 7: connection refused
server 8: context canceled
server 9: context canceled
first error: connection refused, and nobody waited a minute
END

prints timeout <<'END'
the search: deadline exceeded
its helper: deadline exceeded
the scope:  deadline exceeded
one call:   deadline exceeded
in time:    yes
END

prints shutdown <<'END'
front:    context canceled
accepted: 5 requests, then context canceled
finished: 5 requests, success
END

# ---- chat ----

hears() { # FD TEXT: the next line there is that
    local line
    IFS= read -r -t 10 -u "$1" line
    ok "a client hears '$2'" test "$line" = "$2"
}

chat_begin() { # [PROGRAM]: sets chat, and port
    local i program=$bin/${1:-chat}
    : >"$work/out" # no port of another before
    "$program" >>"$work/out" 2>"$work/err" &
    chat=$!
    last_run=$program
    for ((i = 0; i < 100; i++)); do
        port=$(sed -n 's/^listening on 127.0.0.1:\([0-9]*\)$/\1/p' "$work/out")
        [ -z "$port" ] || break
        sleep 0.1
    done
}

# Who takes longer than a grace on a busy machine is late, and told of: 1 s, of the clients' scope 2.
chat_end() { # NAME, CLIENTS[, SCOPE]: or nothing is said of that scope
    local grace=$((1 + ($# > 2)))
    SECONDS=0
    kill -TERM "$chat"
    wait "$chat"
    status=$?
    expect "$1" 0
    expect_out "$1: counts them" "^served $2 clients, then: context canceled\$"
    if [ "$SECONDS" -lt "$grace" ]; then
        ok "$1: no complaint" bash -c "! grep -q '${3:+scope \"$3\"}' '$work/err'"
    fi
}

chat_begin
exec 5<>"/dev/tcp/127.0.0.1/$port" 6<>"/dev/tcp/127.0.0.1/$port" 7<>"/dev/tcp/127.0.0.1/$port"
for fd in 6 7; do
    line=
    for ((i = 0; i < 100; i++)); do # until it is there as well
        echo first >&5
        IFS= read -r -t 0.1 -u $fd line && break
    done
    ok 'a client hears another' test "$line" = first
done
echo last >&5
for fd in 6 7; do
    while [ "$line" = first ] && IFS= read -r -t 10 -u $fd line; do :; done
    ok 'and all that it says' test "$line" = last
    line=first
done
exec 7>&- # one leaves
chat_end 'chat ends on SIGTERM' 3
hears 5 'the server stops'
hears 6 'the server stops'
exec 5>&- 6>&-

chat_begin # one that does not read, beside one that has much to say
exec 5<>"/dev/tcp/127.0.0.1/$port" 6<>"/dev/tcp/127.0.0.1/$port"
yes 'a line that is said a great many times' | head -c 40M >&6
for ((i = 0; i < 100; i++)); do
    grep -q gone "$work/out" && break
    sleep 0.1
done
expect_out 'who does not keep up is dropped' '^a client is gone: no buffer space available$'
chat_end 'and all ends as well' 2
hears 6 'the server stops'
exec 5>&- 6>&-

queued() { # sets sent and got: bytes that wait in the kernel, of connections of the server's side
    read -r sent got < <(awk -v at="$(printf ':%04X' "$port")" 'index($2, at) { print $5 }' /proc/net/tcp | {
        s=0 g=0
        while IFS=: read -r tx rx; do s=$((s + 16#$tx)) g=$((g + 16#$rx)); done
        echo "$s $g"
    })
}

# One that does not read, and whose writer is in the middle of a line when all is to end. It has a second for the
# goodbye, and is not late before two. (On a busy machine it may have been dropped; then there is nothing to see.)
export BELAY_GRACE=800ms # less than the goodbye takes
chat_begin
exec 5<>"/dev/tcp/127.0.0.1/$port" 6<>"/dev/tcp/127.0.0.1/$port"
text=$(for ((i = 0; i < 100; i++)); do printf '%0250d\n' $i; done)
sent=0
for ((i = 0; i < 3000; i++)); do
    before=$sent
    [ "${got:-0}" != 0 ] || echo "$text" >&6
    sleep 0.01
    queued
    [ "$sent" = 0 ] || [ "$sent" != "$before" ] || [ "$got" != 0 ] || break
    ! grep -q gone "$work/out" || break
done
ok 'the kernel has no room for what one does not read' test $i -lt 3000
chat_end 'chat says goodbye to one that does not read' 2 clients
exec 5>&- 6>&-
unset BELAY_GRACE
chat_with() { # NAME SED: builds it with other limits
    sed "$2" "$root/examples/chat.c" >"$work/$1.c"
    ok "$1 differs" bash -c "! cmp -s '$root/examples/chat.c' '$work/$1.c'"
    ok "build $1" "$build/belay" build -o "$bin/$1" "$work/$1.c"
}

# Room for two. A third is served when one has left, whose last line nothing ends; one that waits at the end is told.
chat_with chat_of_two 's/CLIENTS = 1000/CLIENTS = 2/'
chat_begin chat_of_two
exec 5<>"/dev/tcp/127.0.0.1/$port" 6<>"/dev/tcp/127.0.0.1/$port"
line=
for ((i = 0; i < 100; i++)); do
    echo first >&6
    IFS= read -r -t 0.1 -u 5 line && break
done
ok 'one of two hears the other' test "$line" = first
exec 7<>"/dev/tcp/127.0.0.1/$port"
echo third >&7
printf unended >&6
exec 6>&-
while [ "$line" = first ] && IFS= read -r -t 10 -u 5 line; do :; done
ok 'and its last line, which nothing ends' test "$line" = unended
hears 5 third
exec 8<>"/dev/tcp/127.0.0.1/$port"
for ((i = 0; i < 100; i++)); do # until it is accepted
    ! awk -v at="$(printf ':%04X' "$port")" 'index($2, at) && $4 == "0A" && $5 !~ /:0+$/ { found = 1 }
        END { exit !found }' /proc/net/tcp || sleep 0.1
done
chat_end 'chat ends while one waits for room' 3
for fd in 5 7 8; do
    hears $fd 'the server stops'
done
exec 5>&- 7>&- 8>&-

chat_with impatient 's/^#define SILENCE .*/#define SILENCE (BL_SEC \/ 4)/'
chat_begin impatient
exec 5<>"/dev/tcp/127.0.0.1/$port"
for ((i = 0; i < 100; i++)); do
    ! grep -q gone "$work/out" || break
    sleep 0.1
done
expect_out 'who is silent is dropped' '^a client is gone: '
exec 5>&-
chat_end 'and the others are served' 1

run "$bin/chat" 65536
expect 'chat with a port that is none' 2
run "$bin/chat" 7x
expect 'chat with words for a port' 2

# ---- treegrep ----

tree=$work/tree
mkdir -p "$tree/sub dir/deeper" "$tree/.hidden dir" "$tree/empty dir"
(
    cd "$tree" || exit 2
    printf 'foo one\nbar\nFOO two foo\n' >'plain.txt'
    printf 'no newline at the end\nfoo' >'no newline'
    : >'empty file'
    printf '\n\nfoo\n\n' >'sub dir/blank lines'
    printf 'foo\r\nbar foo\r\n' >'sub dir/deeper/crlf'
    printf 'foo in a file\n' >$'new\nline in name'
    printf 'foo in a file\n' >$'sub dir/tab\t back\\slash *star "quote" -dash'
    printf 'foo in a file\n' >'-rn'
    printf 'foo hidden\n' >'.hidden dir/.foo'
    printf 'foo na\xc3\xafve \xe2\x82\xac 12345\n' >$'\xc3\xbcml\xc3\xa4ut'
    printf 'foo good\nfoo bad \xff\nfoo good again\n' >'latin'
    printf 'foo \0 binary\n' >'binary'
    { head -c 300000 /dev/zero | tr '\0' 'x'; printf '\nfoo after a long line\n'; } >'long line'
    { seq 1 60000; echo foo; seq 1 1000; } >'long file'
    { seq 1 60000; printf '\0'; echo foo; } >'binary late'
    printf 'a.b a*b a$b a^b [x] ]x \\ x1y foo.bar foo-bar fooo xfoo foox\n' >'special'
    printf 'aab abb cab\nfood barf\n1x 2y\n' >'sub dir/letters'
    ln -s plain.txt 'link to file'
    ln -s 'sub dir' 'link to dir'
    ln -s nowhere 'dangling'
    mkfifo 'fifo'
    deep=.
    for i in $(seq 1 60); do deep=$deep/d$i; done
    mkdir -p "$deep"
    printf 'foo deep down\n' >"$deep/file"
    mkdir many
    for i in $(seq 1 500); do echo "foo $i" >"many/$i"; done
)

# The same lines as grep -rnI, in any order, and the same status. But where the first zero byte comes
# late in a file, how much has been printed by then is each program's affair.
same() { # NAME, ARGUMENTS of both…
    local name=$1 expected
    shift
    grep -rnI "$@" >"$work/grep.all" 2>/dev/null </dev/null
    expected=$?
    grep -av '^tree/binary late:' "$work/grep.all" | LC_ALL=C sort >"$work/grep.out"
    run "$bin/treegrep" "$@"
    expect "$name" "$expected"
    grep -av '^tree/binary late:' "$work/out" | LC_ALL=C sort >"$work/tree.out"
    if cmp -s "$work/grep.out" "$work/tree.out"; then
        pass
    else
        diff -a "$work/grep.out" "$work/tree.out" | head -n 10 >"$work/out"
        fail "$name" "its lines are not grep's (< grep, > treegrep)"
    fi
}

cd "$work" || exit 2
patterns=(foo 'fo*' '^foo' 'foo$' '\(foo\|bar\)' 'bar\|food' 'fo\{2\}' 'fo\{3,\}' '[fb]o' '[^f]oo' 'a\.b'
    '' . 'foo.*bar' '[[:digit:]]x' '[]x]x' '[[:alpha:]]*foo' '\bfoo\b' 'x\?foo' 'fo\+x' '^$' '*foo'
    'a^b' 'a$b' '[^]a]b' '\.' '\\' '[x]' 'a*b' '\(o\)\1' 'na.ve' '€' '[0-9]\{5\}$' 'not there'
    '\<foo\>.*[0-9]' 'oo[[:space:]]o' 'a[.]b' 'x[[.].]]*' ' 59999$' 'o[[:space:]]' '[[:space:]]*foo' 'foo[[:space:]]*$' '\`foo' "foo\\'" '\Wfoo' 'o\W*f'
    "x$(printf 'x%.0s' $(seq 1 400))"
    # No fixed string in them: through the automaton, exact or not, and round it.
    '[a-z]\+_[0-9]\+\b' '^.*[a-z]x' '[0-9]$' '^[^ ]* ' '^[a-z]*$' '^ *$' 'b*$' '^x*' '\(ab\|cab\)*$' '[fb][oa]\{1,2\}'
    '[fb][oa]\{2,\}$' '[a-z]\{0,3\}[0-9]' '\(fo*\|ba\?\)r' '^\|foo' '\(^foo\|food\)' '\(foo$\|[0-9]x\)' '\(bar$\|c*$\)' '[.*]b' '[^ -~]'
    '\w\W\w' '\S\s\S\+$' '\bb[a-z]*\b' '\<[[:alpha:]]\{3\}\>' '[a-z]\(\(o\|a\)\?[or]\)\{2\}' '.\{20\}' '.\{70\}' '[[:upper:]]' '[[=a=]]b'
    '[^f][^o][^o] .*[^o]$' 'o\|€' '^$\|^foo$')
all_procs=(1 2 8)
[ -z "$sanitize" ] || all_procs=(8)
turn=0 # what matches has nothing to do with the number of processors
for pattern in "${patterns[@]}"; do
    export BELAY_PROCS=${all_procs[turn++ % ${#all_procs[@]}]}
    same "'$pattern' on $BELAY_PROCS" -- "$pattern" tree
done
unset BELAY_PROCS
for pattern in FOO 'NAïVE' 'FOO.*[b]ar' 'x1Y' '-BAR' 'CAB' 'NA.VE' '^[A-Z]*$' 'O\|A' '[ÏK]'; do
    same "-i '$pattern'" -i -- "$pattern" tree
done
same 'a directory with slashes' foo tree//
same 'two directories' foo 'tree/sub dir/' tree/many
same 'a file' foo tree/plain.txt
same 'two files' foo tree/plain.txt 'tree/no newline'
same 'links on the command line' foo 'tree/link to file' 'tree/link to dir'
same 'a directory and a file' foo tree/many tree/plain.txt
same 'nothing at such a path' foo tree/nowhere tree/many
cd "$tree" || exit 2
same 'the current directory' foo .
same 'no path' foo
cd "$work" || exit 2

LC_ALL=C same 'in the C locale' 'foo b' tree
for pattern in . '[^ -~]' '[a-z][a-z ]*$' '\w\W' '^$'; do
    LC_ALL=C same "'$pattern' in the C locale" -- "$pattern" tree
done
run "$bin/treegrep" foo tree
expect_err 'binary files are counted' '^treegrep: 3 binary files skipped$'
run "$bin/treegrep" foo tree/nowhere
expect 'no such file' 2
expect_err 'no such file' '^treegrep: tree/nowhere: No such file or directory$'
for bad in 'a\(b' 'a\{1' '[a'; do
    run "$bin/treegrep" "$bad" tree
    expect "bad pattern $bad" 2
    expect_err "bad pattern $bad" '^treegrep: bad pattern: '
done
for options in '-j 0' '-j x' '-m -1' '-m' '-z'; do
    # shellcheck disable=SC2086
    run "$bin/treegrep" $options foo tree
    expect "bad option $options" 2
    expect_err "bad option $options" '^usage: '
done

# What only the superuser could read.
mkdir locked 'locked/shut dir'
echo foo >locked/readable
echo foo >'locked/shut file'
echo foo >'locked/shut dir/file'
chmod 0 'locked/shut dir' 'locked/shut file'
chmod 755 "$work" "$bin" locked
as_nobody=()
[ "$(id -u)" -ne 0 ] || as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
run "${as_nobody[@]}" "$bin/treegrep" foo locked
expect 'unreadable' 2
expect_out 'unreadable' '^locked/readable:1:foo$'
expect_err 'unreadable file' '^treegrep: locked/shut file: Permission denied$'
expect_err 'unreadable directory' '^treegrep: locked/shut dir: Permission denied$'
expect_err 'unreadable count' '^treegrep: 2 files or directories not read$'
chmod 755 'locked/shut dir'

# Its own output lies in what it searches.
mkdir own
echo foo >own/file
timeout 20 "$bin/treegrep" foo own >own/out 2>"$work/err"
status=$?
expect 'own output' 2
expect_err 'own output' '^treegrep: own/out: input file is also the output$'
ok 'own output is left out' test "$(cat own/out)" = 'own/file:1:foo'

# Stopping: at the Nth line, and by a signal.
for n in 1 2 7 100; do
    for procs in 1 2 8; do
        BELAY_PROCS=$procs run "$bin/treegrep" -m $n foo tree
        expect "-m $n" 0
        ok "-m $n: lines" test "$(grep -c foo "$work/out")" -eq $n
    done
done
run "$bin/treegrep" -m 1000000 foo tree/many
ok '-m beyond what there is' test "$(wc -l <"$work/out")" -eq 500
run "$bin/treegrep" -m 0 foo tree
expect '-m 0' 1

system=()
for dir in /usr/include/linux /usr/include/c++ /usr/include/x86_64-linux-gnu/sys; do
    [ -d "$dir" ] && system+=("$dir")
done
if [ ${#system[@]} -gt 0 ]; then
    for pattern in pthread_mutex 'struct [a-z_]*stat\b' '^#define.*0x' the; do
        same "'$pattern' in the system's headers" "$pattern" "${system[@]}"
    done
    same 'all headers' pthread_mutex_ /usr/include
fi
same 'everything in a big file' 1 'tree/long file'
run bash -c '"$1" foo "$2" | head -n 1' - "$bin/treegrep" tree
ok 'a reader that goes away' test "$(wc -l <"$work/out")" -eq 1
if [ -c /dev/full ]; then
    last_run='treegrep foo tree >/dev/full'
    timeout 20 "$bin/treegrep" foo tree >/dev/full 2>"$work/err"
    status=$?
    expect 'output cannot be written' 2
    expect_err 'output cannot be written' '^treegrep: input/output error$'
fi

mkdir slow
seq 1 300000 >slow/1
for i in $(seq 2 250); do ln slow/1 "slow/$i"; done
searches() { # PID FILE: waits until that file's process is treegrep, and has computed for a fifth of a second
    local i stat
    for ((i = 0; i < 6000; i++)); do
        read -ra stat 2>/dev/null <"/proc/$(cat "$1")/stat"
        [ "${stat[1]}" != '(treegrep)' ] || [ $((stat[13] + stat[14])) -lt 20 ] || return 0
        sleep 0.01
    done
    return 1
}

# It ends at once: all of it takes half a minute of the processors' time, of which it may have little. A sanitizer's build looks
# at the same number of lines before it stops, many times as slowly.
most=5
[ -z "$sanitize" ] || most=100
for signal in INT TERM; do
    for procs in "${all_procs[@]}"; do
        last_run="treegrep, SIG$signal while it searches, $procs processors"
        : >pid
        BELAY_PROCS=$procs timeout --foreground -k 2 240 env --default-signal=$signal sh -c 'echo $$ >pid; exec "$@"' - \
            prlimit --cpu=$most "$bin/treegrep" '\(1\).*\1x' slow >"$work/out" 2>"$work/err" </dev/null &
        job=$!
        ok "SIG$signal on $procs: it searches" searches pid
        kill -$signal "$(cat pid)"
        wait $job
        status=$?
        expect "SIG$signal on $procs" 2
        expect_err "SIG$signal on $procs" '^treegrep: interrupted$'
        ok "SIG$signal on $procs leaves nobody" bash -c '! grep -qi "leak\|goroutine" "$0"' "$work/err"
    done
done

finish
