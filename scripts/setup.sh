#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Sees to it that the tools are there which a make target needs.
#
#     scripts/setup.sh [run|test|bench|aarch64|libs]…     default: test
#
# Says nothing when nothing is missing. Otherwise installs the Debian packages if it may (as root,
# or by sudo without a password), and else prints the command that does, and ends with status 1.
set -u

# What proves that it is there (a command, or a file), and the Debian 12 package that brings it.
run="gcc:gcc /usr/include/stdio.h:libc6-dev make:make cmake:cmake
    /usr/include/elfutils/libdwfl.h:libdw-dev"
test="$run g++:g++ pkg-config:pkg-config clang-14:clang-14 clang-format-14:clang-format-14
    clang-tidy-14:clang-tidy-14 cppcheck:cppcheck gdb:gdb python3:python3"
bench="$run python3:python3 go:golang-go rg:ripgrep"
aarch64="$run aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu
    /usr/aarch64-linux-gnu/include/stdio.h:libc6-dev-arm64-cross qemu-aarch64:qemu-user"
libs="$run pg_config:libpq-dev /usr/lib/postgresql/15/bin/postgres:postgresql-15
    curl-config:libcurl4-openssl-dev /usr/sbin/nginx:nginx-light /usr/include/sqlite3.h:libsqlite3-dev"

# Without these something is left out, and that is said.
wishes="/usr/share/llhttp/llhttp.c:node-llhttp gotestsum:gotestsum valgrind:valgrind
    /usr/include/$(uname -m)-linux-gnu/sys/sdt.h:systemtap-sdt-dev
    /usr/lib/llvm-14/lib/clang/14.0.6/share/asan_ignorelist.txt:libclang-rt-14-dev"
left_out() { # PACKAGE
    case $1 in
    node-llhttp) echo "the debug endpoint (bl_debug_listen)" ;;
    libclang-rt-14-dev) echo "'belay test -fuzz', and -race by clang," ;;
    systemtap-sdt-dev) echo "the USDT probes" ;;
    gotestsum) echo "a test of what it reads of 'belay test -json'" ;;
    valgrind) echo "a test of what it says of goroutines" ;;
    esac
}

needs=
wanted=
for group in "${@:-test}"; do
    case $group in
    run) needs="$needs $run" ;;
    test) needs="$needs $test" wanted=$wishes ;;
    bench) needs="$needs $bench" ;;
    aarch64) needs="$needs $aarch64" ;;
    libs) needs="$needs $libs" ;;
    *) echo "usage: scripts/setup.sh [run|test|bench|aarch64|libs]..." >&2; exit 2 ;;
    esac
done

lacking() { # NEED…: prints the packages
    local need proof
    for need; do
        proof=${need%%:*}
        case $proof in
        /*) [ -e "$proof" ] && continue ;;
        *) command -v "$proof" >/dev/null 2>&1 && continue ;;
        esac
        echo "${need#*:}"
    done | sort -u | tr '\n' ' '
}

may_install() { # sets as_root
    command -v apt-get >/dev/null 2>&1 || return 1
    as_root=
    [ "$(id -u)" -eq 0 ] && return
    as_root="sudo -n"
    command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null
}

get() { # PACKAGE…: installs them; what apt-get says is in $log
    echo "belay: installing $*" >&2
    { $as_root apt-get update -q &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } \
        >"$log" 2>&1
}

missing=$(lacking $needs)
missing=${missing% }
wanted=$(lacking $wanted)
wanted=${wanted% }
[ -n "$missing$wanted" ] || exit 0

log=$(mktemp)
policy=
clean_up() {
    rm -f "$log"
    [ -z "$policy" ] || $as_root rm -f "$policy"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

if [ -n "$wanted" ] && ! { may_install && get $wanted; }; then
    for package in $wanted; do
        echo "belay: without $package $(left_out "$package") is left out" >&2
    done
fi
[ -n "$missing" ] || exit 0

install="apt-get install -y --no-install-recommends $missing"
refuse() { # WHY
    echo "belay: these packages are missing: $missing" >&2
    echo "belay: $1; to install them:" >&2
    echo "    sudo apt-get update && sudo $install" >&2
    exit 1
}

command -v apt-get >/dev/null 2>&1 || refuse "there is no apt-get here (the names are Debian's)"
may_install || refuse "installing them takes root"

# Debian starts the servers that it installs, if nothing says no. Those that were there go on.
case " $missing " in
*" postgresql-15 "* | *" nginx-light "*)
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
        $as_root chmod +x "$policy"
    fi
    ;;
esac
if ! get $missing; then
    tail -n 20 "$log" >&2
    refuse "apt-get failed"
fi
