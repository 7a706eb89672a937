#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The debug endpoint: test/listen_test.sh BUILD
source "$(dirname "$0")/shell.sh"
build_settings
flags=(-std=gnu11 -O1 -g -Wall -Wextra)
[ -z "$sanitize" ] || flags+=("-fsanitize=$sanitize")
export ASAN_OPTIONS=detect_leaks=0 BELAY_PROCS=2 PPROF_TMPDIR=$work
ok 'serve.c compiles' "$compiler" "${flags[@]}" -I"$root/include" "$root/test/profile/serve.c" \
    "$build/libbelay.a" -lpthread -o "$work/serve"
[ -x "$work/serve" ] || finish
run "$work/serve" 127.0.0.1:http
if grep -q BL_ENOSYS "$work/out"; then
    echo 'listen_test: skipped: built without llhttp (node-llhttp)'
    finish
fi
expect 'no port' 1; expect_out 'no port' '^BL_EINVAL$'
for wrong in 127.0.0.1 :80 127.0.0.1:70000 example:80 unix: '[::1:80' ''; do
    run "$work/serve" "$wrong"; expect_out "refused: $wrong" '^BL_EINVAL$'
done
run "$work/serve" 0.0.0.0:0; expect_out 'not to all the world' '^BL_EACCES$'

begin() { # ADDRESS: sets server, said; its stdin is 4
    mkfifo "$work/in$1"
    rm -f "$work/said"
    "$work/serve" "$2" <"$work/in$1" >"$work/said" 2>"$work/warned" &
    server=$!
    exec 4>"$work/in$1"
    for ((i = 0; i < 1000; i++)); do
        [ -s "$work/said" ] 2>/dev/null && break
        sleep 0.01
    done
    said=$(cat "$work/said")
}
cat >"$work/get" <<'END'
exec 5<>"/dev/tcp/127.0.0.1/$1"
printf '%s %s HTTP/1.1\r\nHost: localhost\r\n\r\n' "${3:-GET}" "$2" >&5
cat <&5
END
get() { run bash "$work/get" "$said" "$@"; } # PATH [METHOD]
begin 1 127.0.0.1:0
ok 'a port' test "$said" -gt 0
get /metrics; expect_out 'metrics' '^HTTP/1.1 200 OK.$'
expect_out 'their type' '^Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8.$'
expect_out 'their end' '^# EOF$'
get '/debug/pprof/goroutine?debug=1'; expect_out 'text' '^7 @( 0x[0-9a-f]+)+$'
expect_out 'a function' '	receiver	'
# Of the library's own goroutines: what they do, and not how they are switched. The one that accepts
# may still be on its way back to that when what it has accepted is answered.
accepts() { # of the text in out
    awk '/^goroutine / { head = $0; getline; if ($0 == "server_main") print head }' "$work/out" |
        grep -qE '^goroutine [0-9]+ \[IO wait(, [0-9]+s)?\]:$'
}
names_call() { grep -qE '	(bl_accept|accept_|bl_fd|fd_)' "$work/out"; }
again_until() { # CONDITION COMMAND…
    local i
    for ((i = 0; i < 100; i++)); do
        "${@:2}"
        "$1" && break
    done
}
again_until accepts get '/debug/pprof/goroutine?debug=2'
expect_out 'each' '^goroutine [0-9]+ \[chan receive(, [0-9]+s)?\]:$'
ok 'its own goroutine' accepts
inside='switch_only|switch_to|bl__park|bl__goroutine_main|bl__entry|main_goroutine'
ok 'the inside is hidden' test "$(grep -cE "$inside" "$work/out")" = 0
again_until names_call get '/debug/pprof/goroutine?debug=1'
ok 'its call' names_call
ok 'hidden there, too' test "$(grep -cE "$inside" "$work/out")" = 0
if [ -x "$build/belay" ]; then
    run "$build/belay" dump "$server"
    if [ "$status" -eq 0 ] && ldd "$build/belay" | grep -q libdw; then
        again_until accepts run "$build/belay" dump "$server"
        ok 'from outside' accepts
        ok 'hidden from outside' test "$(grep -cE "$inside" "$work/out")" = 0
        run "$build/belay" top -once "$server"; expect_out 'the main goroutine' '^ +1  .*  serve +$'
    fi
fi
get /debug/pprof/; expect_out 'the index' '<a href="goroutineleak.debug=1">goroutineleak</a>'
get /debug/pprof; expect_out 'where that is' '^Location: /debug/pprof/.$'
get /debug/leaks; expect_out 'leaks' '^[0-9]+ stuck goroutines?$'
get /debug/pprof/cmdline; expect_out 'cmdline' serve
get '/debug/pprof/mutex?debug=1&seconds=1'; expect_out 'the mutex over a second' '	locker	'
get /debug/goroutines; expect_out 'the table' "^[0-9]+	w	-	[0-9]+	[0-9]+	[0-9]+	chan receive	receiver	.*serve\.c:[0-9]+ \(serve\)\$"
id=$(awk -F '\t' '$8 == "receiver" { print $1; exit }' "$work/out")
get "/debug/goroutines?id=$id"; expect_out 'one of them' "^goroutine $id \[chan receive(, [0-9]+s)?\]:\$"
get '/debug/goroutines?id=x'; expect_out 'no goroutine' '^HTTP/1.1 400 Bad Request.$'
if [ -x "$build/belay" ]; then
    run "$build/belay" top -once -sort id "http://127.0.0.1:$said/"; expect 'top' 0
    expect_out 'its head' "^belay top: process $server, 2 processors, [0-9]+ threads; [0-9]+ goroutines: [0-9]+ running, "
    expect_out 'a row' "^ +$id  chan receive +[-0-9.a-z]+ +[0-9]+ +[0-9]+%  receiver +.*serve\.c:[0-9]+ \(serve\)\$"
    expect_out 'the main goroutine, by address' '^ +1  .*  serve +$'
    ok 'in order' bash -c "sed 1,2d '$work/out' | awk '/^ *[0-9]/ { print \$1 }' | sort -nc"
    run "$build/belay" top -once http://127.0.0.1:1; expect 'nobody listens' 1
    run "$build/belay" top -once ftp://127.0.0.1; expect 'no address' 2
    kill -STOP "$server"
    for ((i = 0; i < 1000; i++)); do # each of its threads stops when it gets to it
        grep -q '^State:.[^T]' "/proc/$server"/task/*/status || break
        sleep 0.01
    done
    run "$build/belay" top -once "http://127.0.0.1:$said/"; expect 'it is stopped' 1
    expect_err 'it is stopped' ': no answer$'
    kill -CONT "$server"
fi
get /nothing; expect_out 'not found' '^HTTP/1.1 404 Not Found.$'
get '/debug/pprof/goroutine?debug=x'; expect_out 'no number' '^HTTP/1.1 400 Bad Request.$'
get '/debug/pprof/goroutine?debug=2&seconds=1'; expect_out 'no seconds' '^HTTP/1.1 400 Bad Request.$'
get '/debug/pprof/goroutine?debug=1&seconds=1'; expect_out 'as many as before' '^goroutine profile: total 0$'
get '/debug/pprof/schedlatency?debug=1&seconds=1'; expect_out 'latency' '	locker	'
get /metrics POST; expect_out 'not a question' '^HTTP/1.1 405 Method Not Allowed.$'
get /metrics HEAD; ok 'no body' bash -c "! grep -q EOF '$work/out'"
get "/$(printf '%0600d' 0)"; expect_out 'too long' '^HTTP/1.1 414 URI Too Long.$'
run bash -c "exec 5<>/dev/tcp/127.0.0.1/$said; printf 'nonsense\r\n\r\n' >&5; cat <&5"
expect_out 'nonsense' '^HTTP/1.1 400 Bad Request.$'
run bash -c "exec 5<>/dev/tcp/127.0.0.1/$said; { printf 'GET / HTTP/1.1\r\n'; for i in {1..400}; do
    printf 'X-%d: %030d\r\n' \$i 0; done; } >&5 2>&-; cat <&5"
expect_out 'too much' '^HTTP/1.1 431 '
slow=()
for i in {1..8}; do # they say nothing, and hold up nobody
    exec {one}<>"/dev/tcp/127.0.0.1/$said"
    slow+=("$one")
done
get /metrics; expect_out 'beside slow ones' '^# EOF$'
for one in "${slow[@]}"; do exec {one}>&-; done
if command -v go >/dev/null && [ -z "$sanitize" ]; then
    run go tool pprof -top "http://127.0.0.1:$said/debug/pprof/goroutine"
    expect_out 'pprof' ' 7 +[0-9.]+%  receiver$'
    if [ -x "$build/belay" ]; then
        run "$build/belay" profile "http://127.0.0.1:$said"; expect_out 'belay profile' ' 7 +[0-9.]+%  receiver$'
    fi
    for name in block mutex schedlatency threadcreate goroutine; do
        run go tool pprof -top "http://127.0.0.1:$said/debug/pprof/$name?seconds=1"; expect "pprof of $name" 0
        expect_err 'it waits' 'Fetching profile over HTTP from http://127'
        [ $name = goroutine ] || [ $name = threadcreate ] || expect_out "who waits: $name" ' locker$'
    done
    expect_out 'a difference' '0% of 0 total|^Type: goroutine$'
fi
exec 4>&-
wait "$server"
ok 'it ends' test $? -eq 0
ok 'and says nothing' test ! -s "$work/warned"

begin 2 "unix:$work/socket"
ok 'a socket' test "$said" = 0 -a -S "$work/socket"
ok 'for its owner' test "$(stat -c %a "$work/socket")" = 600
if [ -x "$build/belay" ]; then
    run "$build/belay" top -once -filter receiver "unix:$work/socket"; expect 'top by a socket' 0
    ok 'seven rows' test "$(grep -c ' receiver ' "$work/out")" = 7
    run "$build/belay" profile "unix:$work/none"; expect 'no such socket' 1
    expect_err 'why' '^belay: unix:.*/none: No such file or directory$'
    for page in /debug/pprof/none /none; do
        run "$build/belay" profile "unix:$work/socket:$page"; expect "no such page, $page" 1
        expect_err 'why' 'it has no such page$'
    done
    if command -v go >/dev/null && [ -z "$sanitize" ]; then
        run "$build/belay" profile "unix:$work/socket"; expect_out 'profile by a socket' ' 7 +[0-9.]+%  receiver$'
        run "$build/belay" profile -top "unix:$work/socket:/debug/pprof/mutex?seconds=1"
        expect_out 'and a page' ' locker$'
    fi
fi
run "$work/serve" "unix:$work/socket"; expect_out 'in use' '^BL_EADDRINUSE$'
kill -9 "$server"
wait "$server" 2>/dev/null
exec 4>&-
begin 3 "unix:$work/socket"
ok 'one that is dead is in nobodys way' test "$said" = 0
exec 4>&-
wait "$server"
ok 'it ends as well' test $? -eq 0
ok 'the socket is gone' test ! -e "$work/socket"
finish
