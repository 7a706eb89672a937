#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Libraries as they are, called by hundreds of goroutines: examples/kv.c (SQLite), pg.c (libpq),
# fetch.c (libcurl). test/libs_test.sh BUILD
#
# PostgreSQL listens on a Unix socket in the temporary folder, nginx on a port of loopback. Both are
# ended at the end, at ^C and at SIGTERM, and if this script is killed, by the kernel (pdeathsig).
#
# builds: none; make test-libs starts servers
source "$(dirname "$0")/shell.sh"
unset CC CFLAGS LDFLAGS LDLIBS BELAY_PROCS
servers=()

stop_servers() {
    local pid i
    trap '' INT TERM
    for pid in ${servers[@]+"${servers[@]}"}; do
        kill -INT "$pid" 2>/dev/null
        for ((i = 0; i < 100; i++)); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    rm -rf "$work"
}
trap stop_servers EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if ! "$root/scripts/setup.sh" libs; then
    echo "0 passed, 1 failed"
    exit 1
fi

# A program that ends well prints one line, which is shown; the same on 1, 2 and 8 processors.
for name in kv pg fetch; do
    ok "build $name" "$build/belay" build -o "$work/$name" "$root/examples/$name.c"
done
every_procs() { # NAME REGEX ARGUMENTS…
    local name=$1 regex=$2 procs
    shift 2
    for procs in 1 2 8; do
        run env BELAY_PROCS=$procs "$work/$name" "$@"
        expect "$name, $procs processors" 0
        expect_out "$name, $procs processors" "$regex"
        ok_silent "$name, $procs processors"
        echo "      $procs processors: $(cat "$work/out")"
    done
}
ok_silent() { # NAME
    if [ ! -s "$work/err" ]; then pass; else fail "$1" "it complains"; fi
}

# Some goroutine fails, or the time is over: all stop soon, and nobody is left or late.
stops() { # NAME ERRORS WHY PROGRAM ARGUMENTS…
    local name=$1 errors=$2 why=$3 program=$work/$4 began=$SECONDS
    shift 4
    run "$program" "$@"
    expect "$name" 1
    expect_out "$name" ", $errors errors, .*: $why$"
    if [ $((SECONDS - began)) -lt 20 ]; then pass; else fail "$name" "it takes too long"; fi
    if grep -qiE 'goroutine|leak' "$work/err"; then fail "$name" "goroutines are late"; else pass; fi
}

# ---- SQLite
every_procs kv '^kv: 4000 queries, 100000 rows, 0 errors, .*: success$' "$work/kv.db"
stops 'kv: no such folder' '[1-9][0-9]*' 'input/output error' kv "$work/nowhere/kv.db"

# ---- PostgreSQL, which does not run as root
pg_bin=/usr/lib/postgresql/15/bin
pg_data=$work/postgres
mkdir "$pg_data"
as_user=(setpriv --pdeathsig INT)
if [ "$(id -u)" -eq 0 ]; then
    as_user+=(--reuid=65534 --regid=65534 --clear-groups)
    chmod 711 "$work"
    chown 65534:65534 "$pg_data"
fi
cd "$pg_data" || exit 2
ok 'initdb' timeout 60 "${as_user[@]}" "$pg_bin/initdb" -D "$pg_data/data" -U test -A trust -N \
    -E UTF8 --no-locale
"${as_user[@]}" "$pg_bin/postgres" -D "$pg_data/data" -k "$pg_data" -c listen_addresses= \
    -c max_connections=220 -c shared_buffers=16MB -c fsync=off -c autovacuum=off \
    >"$work/pg.log" 2>&1 </dev/null &
servers+=($!)
export PGHOST=$pg_data PGUSER=test PGDATABASE=postgres
for ((i = 0; i < 300; i++)); do
    "$pg_bin/pg_isready" -q && break
    sleep 0.1
done
ok "PostgreSQL answers: $(tail -n 3 "$work/pg.log")" "$pg_bin/pg_isready"
every_procs pg '^pg: 4000 queries, 40000 rows, 0 errors, .*: success$'
stops 'pg: a query that fails' '[1-9][0-9]*' 'input/output error' pg 'select 1 / 0'
expect_err 'pg: says why' '^pg: ERROR:  division by zero$'
PGHOST=$work/nowhere stops 'pg: no server' '[1-9][0-9]*' 'input/output error' pg
stops 'pg: a time limit' 0 'deadline exceeded' pg 'select pg_sleep(100)' 3

# ---- nginx
mkdir "$work/www"
head -c 100000 /dev/zero | tr '\0' x >"$work/www/page"
nginx_start() { # PORT
    cat >"$work/nginx.conf" <<CONF
daemon off;
master_process off;
pid $work/nginx.pid;
error_log $work/nginx.log;
events { worker_connections 500; }
http {
    access_log off;
    client_body_temp_path $work/t1;
    proxy_temp_path $work/t2;
    fastcgi_temp_path $work/t3;
    uwsgi_temp_path $work/t4;
    scgi_temp_path $work/t5;
    server {
        listen 127.0.0.1:$1 backlog=500;
        root $work/www;
        location /slow { alias $work/www/page; limit_rate 1k; }
    }
}
CONF
    setpriv --pdeathsig INT /usr/sbin/nginx -p "$work" -c "$work/nginx.conf" -e "$work/nginx.log" \
        >/dev/null 2>&1 </dev/null &
    nginx=$!
    for ((i = 0; i < 100; i++)); do
        kill -0 "$nginx" 2>/dev/null || return 1
        (: >"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
        sleep 0.1
    done
    return 1
}
for try in 1 2 3 4 5 6 7 8 9 10; do # the port may be taken
    port=$((20000 + RANDOM % 10000))
    if nginx_start $port; then
        servers+=("$nginx")
        break
    fi
    kill -KILL "$nginx" 2>/dev/null
    wait "$nginx" 2>/dev/null
done
url=http://127.0.0.1:$port
unset http_proxy ALL_PROXY all_proxy
ok "nginx answers (try $try): $(tail -n 3 "$work/nginx.log")" kill -0 "$nginx"
every_procs fetch '^fetch: 4000 pages, 400000000 bytes, 0 errors, .*: success$' "$url/page"
stops 'fetch: no such page' '[1-9][0-9]*' 'input/output error' fetch "$url/nowhere"
stops 'fetch: a time limit' 0 'deadline exceeded' fetch "$url/slow" 3

finish
