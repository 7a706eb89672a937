#!/bin/bash
# SPDX-License-Identifier: MIT
#
# scripts/setup.sh on systems that lack something: the commands it finds are those of a folder made
# here, with an apt-get, id and sudo that only note what they are asked. test/setup_test.sh BUILD
#
# builds: dev
source "$(dirname "$0")/shell.sh"
setup=$root/scripts/setup.sh
bin=$work/bin
mkdir "$bin"
for tool in sh cat sort tr mktemp rm tail printf env uname; do
    ln -s "$(command -v $tool)" "$bin/$tool"
done
fake() { # NAME SCRIPT
    printf '#!/bin/sh\n%s\n' "$2" >"$bin/$1"
    chmod +x "$bin/$1"
}
for tool in gcc g++ make cmake pkg-config clang-14 clang-format-14 clang-tidy-14 gdb python3; do
    fake $tool 'exit 0'
done
fake id 'echo 1000'
setup_run() { run env PATH="$bin" "$setup" "$@"; }

setup_run run; expect 'nothing missing' 0
ok 'nothing missing: silent' sh -c "test ! -s '$work/out' && test ! -s '$work/err'"

setup_run libs; expect 'libs' 1
expect_err 'libs: names the packages' 'missing: libcurl4-openssl-dev libpq-dev'

setup_run; expect 'no apt-get' 1; expect_err 'no apt-get' 'there is no apt-get here'
expect_err 'no apt-get: names the package' 'missing: cppcheck$'

fake apt-get "echo \"apt-get \$*\" >>'$work/asked'"
setup_run; expect 'no root' 1
expect_err 'no root: the command' '^ +sudo apt-get update && sudo apt-get install -y .* cppcheck$'
ok 'no root: installs nothing' test ! -e "$work/asked"

fake sudo 'exit 1'
setup_run test; expect 'sudo wants a password' 1
fake sudo '[ "$1" = -n ] && shift && exec "$@"'
fake true ''
setup_run test; expect 'sudo' 0
ok 'sudo: installs' grep -q '^apt-get install -y --no-install-recommends cppcheck$' "$work/asked"
rm -f "$work/asked"
fake id 'echo 0'
rm "$bin/cmake"
setup_run run test; expect 'root' 0
ok 'root: updates' grep -q '^apt-get update' "$work/asked"
ok 'root: each package once' grep -q 'recommends cmake cppcheck$' "$work/asked"

fake cmake 'exit 0'
fake cppcheck 'exit 0'
fake gotestsum 'exit 0'
fake valgrind 'exit 0'
sed "s|/usr/share/llhttp/|$work/none/|" "$setup" >"$work/wishes.sh"
chmod +x "$work/wishes.sh"
rm -f "$work/asked"
run env PATH="$bin" "$work/wishes.sh" test; expect 'a wish' 0
ok 'a wish: installs' grep -q 'recommends node-llhttp$' "$work/asked"
fake apt-get 'exit 100'
run env PATH="$bin" "$work/wishes.sh" test; expect 'a wish that cannot be' 0
expect_err 'a wish that cannot be: what is left out' 'without node-llhttp the debug endpoint'
run env PATH="$bin" "$work/wishes.sh" run; ok 'nobody wishes' test ! -s "$work/err"
rm "$bin/cmake" "$bin/cppcheck"

fake apt-get 'echo "E: no network"; exit 100'
setup_run; expect 'apt-get fails' 1; expect_err 'apt-get fails: says why' 'E: no network'
expect_err 'apt-get fails: the command' 'sudo apt-get install'
setup_run benhc; expect 'unknown group' 2; expect_err 'unknown group' '^usage: '
finish
