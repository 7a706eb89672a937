#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The ways into a user's program: an installation found by pkg-config, by CMake, by the installed
# command, from C and C++; the source tree as a CMake subdirectory; and the library as one file.
# test/consume_test.sh BUILD
#
# It is what release installs.
#
# builds: release
source "$(dirname "$0")/shell.sh"
consume=$root/test/consume
prefix="$work/the prefix"
flags="-O1 -g -Wall -Wextra -Werror"

prints_45() { # NAME PROGRAM
    run "$2"; expect "$1" 0; expect_out "$1" '^45$'
}

# ---- One file: the amalgamation, by both compilers; optimised, where gcc finds more to warn of. clang finds the same at any level.
for compiler in 'gcc -O1' 'clang-14 -O0' 'gcc -O1 -flto'; do
    # shellcheck disable=SC2086
    ok "one file, $compiler" $compiler -std=gnu11 -Wall -Wextra -Werror -I"$root/include" -I"$root/src" \
        "$consume/program.c" "$root/src/all.c" "$root/src/arch/switch_$(uname -m).S" \
        -o "$work/one" -lpthread
    prints_45 "one file, $compiler" "$work/one"
done

# The rest is of the installed files, which a sanitized tree does not have.
if [ ! -e "$build/libbelay.so" ]; then
    finish
fi
ok 'install' cmake --install "$build" --prefix "$prefix"
ok 'nothing is installed elsewhere' test -z "$(grep -v "^$prefix/" "$build/install_manifest.txt")"

# ---- gdb: what an installation of the system's has is run at its start
for place in /usr /usr/local; do
    rm -rf "$work/stage"
    ok "install to $place" env DESTDIR="$work/stage" cmake --install "$build" --prefix $place
    if gdb --configuration | grep -q system-gdbinit-dir; then
        script=$(find "$work/stage" -path '*gdbinit*' -name belay.py)
        ok 'gdb gets its script' test -n "$script"
        run gdb -nx -batch -x "$script" -ex 'info goroutines'
        expect_err 'and knows the command' 'There is no process: start the program'
    fi
done

# ---- and away again: what was installed last
if [ "$build" = "$root/build/release" ]; then
    run make -s -C "$root" uninstall DESTDIR="$work/stage" PREFIX=/opt
    expect 'uninstall from where it is not' 2
    expect_err 'is told of' '^not /opt: what was installed last is listed in '
    ok 'and takes nothing away' test -n "$(find "$work/stage" -name libbelay.so)"
    ok 'uninstall' make -s -C "$root" uninstall DESTDIR="$work/stage" PREFIX=/usr/local/
    mkdir -p "$work/kept$(head -n 1 "$build/install_manifest.txt")"
    run make -s -C "$root" uninstall DESTDIR="$work/kept"; expect 'what cannot be removed' 2
    ok 'nothing is left' test -z "$(find "$work/stage" ! -type d -o -name '[Bb]elay')"
fi

# ---- What is installed names no folder of who has built it, and a program keeps its library beside the next version's
for file in "$prefix/bin/belay" "$(find "$prefix" -name 'libbelay.so.*.*.*' ! -name '*.py')" "$(find "$prefix" -name libbelay.a)"; do
    ok "${file##*/}: no folder of the build's" test "$(strings -a "$file" | grep -cF "$root/")" -eq 0
done
ok 'soname' test -n "$(readelf -d "$(find "$prefix" -name libbelay.so)" | grep "SONAME.*\[libbelay\.so\.$(
    sed -n 's/.*define BELAY_VERSION "\(0\.[0-9]*\|[0-9]*\)\..*/\1/p' "$root/include/belay/version.h")\]")"

# ---- pkg-config
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
for dir in "$prefix"/lib/*/pkgconfig; do
    PKG_CONFIG_PATH=$PKG_CONFIG_PATH:$dir
done
ok 'pkg-config knows it' pkg-config --exists belay
version=$(sed -n 's/.*define BELAY_VERSION "\(.*\)"/\1/p' "$root/include/belay/version.h")
ok 'pkg-config: version' test "$(pkg-config --modversion belay)" = "$version"
eval "libs=($(pkg-config --cflags --libs belay))"
library=$(eval "echo $(pkg-config --variable=libdir belay)")
for standard in c11 c17 c2x; do
    # shellcheck disable=SC2086
    ok "pkg-config, $standard" gcc -std=$standard $flags "$consume/program.c" \
        "${libs[@]}" -o "$work/shared"
    run env LD_LIBRARY_PATH="$library" "$work/shared"; expect "shared library, $standard" 0
    expect_out "shared library, $standard" '^45$'
done
# shellcheck disable=SC2086
ok 'static program' gcc $flags -static "$consume/program.c" "${libs[@]}" -o "$work/static"
prints_45 'static program' "$work/static"
# shellcheck disable=SC2086
ok 'clang-built program' clang-14 $flags "$consume/program.c" "${libs[@]}" -o "$work/clang"
run env LD_LIBRARY_PATH="$library" "$work/clang"; expect_out 'clang-built program' '^45$'
# shellcheck disable=SC2086
ok 'C++17' g++ -std=c++17 $flags -Wold-style-cast -x c++ "$consume/program.cc" -x none "${libs[@]}" -o "$work/cxx"
run env LD_LIBRARY_PATH="$library" "$work/cxx"; expect 'C++17' 0; expect_out 'C++17' '^45$'
# shellcheck disable=SC2086
ok 'C++20, clang' clang++-14 -std=c++20 $flags -x c++ "$consume/program.cc" -x none "${libs[@]}" -o "$work/cxx20"
run env LD_LIBRARY_PATH="$library" "$work/cxx20"; expect 'C++20, clang' 0; expect_out 'C++20, clang' '^45$'

# ---- CMake package
ok 'find_package' cmake -S "$consume" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_CXX_COMPILER=g++
ok 'CMake: build' cmake --build "$work/cmake"
for program in static_c shared_c static_cxx; do
    prints_45 "CMake: $program" "$work/cmake/$program"
done

# ---- A frame that is bigger than the stack is an overflow, and not somebody's memory
if [ "$(uname -m)" = x86_64 ]; then
    ok 'pkg-config: frames' grep -q -- ' -fstack-clash-protection' <(pkg-config --cflags belay)
    for program in static_c shared_c static_cxx; do
        ok "CMake: frames of $program" grep -q -- -fstack-clash-protection "$work/cmake/CMakeFiles/$program.dir/flags.make"
    done
fi

# ---- The installed command
run "$prefix/bin/belay" run "$consume/program.c"; expect 'installed command' 0
expect_out 'installed command' '^45$'
find "$prefix" -name libbelay_race.a -delete # there if another test had it built
run "$prefix/bin/belay" build -race -o "$work/race" "$consume/program.c"
expect 'installed command: -race without its library' 2
expect_err 'installed command: -race without its library' 'needs .*libbelay_race.a, which is not there'
ok 'manual page' test -s "$prefix/share/man/man1/belay.1"

# ---- A subdirectory of a user's CMake project, which makes one file of its sources and has no type of build that is known
mkdir "$work/sub"
cat >"$work/sub/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.25)
project(sub LANGUAGES C)
add_subdirectory("$root" belay)
add_executable(program "$consume/program.c")
target_link_libraries(program PRIVATE belay::belay)
END
ok 'add_subdirectory' cmake -S "$work/sub" -B "$work/sub/build" -DCMAKE_BUILD_TYPE=Plain \
    -DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=0
ok 'add_subdirectory: build' cmake --build "$work/sub/build" --target program
prints_45 'add_subdirectory' "$work/sub/build/program"
finish
