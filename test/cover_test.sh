#!/bin/bash
# SPDX-License-Identifier: MIT
#
# `belay test -cover`: test/cover_test.sh BUILD
#
# builds: dev
source "$(dirname "$0")/shell.sh"
build_settings
belay=$build/belay
[ -x "$belay" ] || finish
if [ -n "$sanitize" ] || ! command -v gcc >/dev/null || ! command -v gcov >/dev/null; then
    echo 'cover_test: skipped: it is for builds without a sanitizer, and needs gcc and gcov'
    finish
fi
export BELAY_CACHE=$work/cache BELAY_PROCS=2 CC=gcc TMPDIR=$work/tmp
ulimit -c 0
mkdir "$work/tmp" "$work/code" "$work/code/sub" "$work/none"
cd "$work" || exit 2
cat >code/sub/queue.c <<'END'
#include "queue.h"
int which(int n)
{
    if (n == 1)
        return 10;
    if (n == 2)
        return 20;
    if (n == 3)
        return 30;
    if (n == 4)
        return 40;
    return 50;
}
END
cat >code/sub/queue.h <<'END'
int which(int n);
static inline int twice(int n)
{
    return 2 * n;
}
END
cat >code/a_test.c <<'END'
//belay:sources sub/queue.c
#include <belay/test.h>
#include <stdlib.h>
#include "sub/queue.h"
BL_TEST(one) { BL_CHECK_EQ(t, which(1), 10); }
BL_TEST(inlined) { BL_CHECK_EQ(t, twice(atoi("1")), 2); }
static int crash(void *arg) { abort(); return arg == NULL; }
BL_TEST(crashes)
{
    BL_CHECK_EQ(t, which(2), 20);
    if (getenv("CRASH") != NULL) {
        BL_SCOPE(s);
        (void)bl_go(s, crash, NULL);
    }
}
BL_TEST_PLAIN(three)
{
    BL_CHECK_EQ(t, which(3), 30);
    BL_REQUIRE(t, getenv("CRASH") == NULL);
}
END
cat >code/b_test.c <<'END'
//belay:sources sub/queue.c
#include <belay/test.h>
#include "sub/queue.h"
BL_TEST(four) { BL_CHECK_EQ(t, which(4), 40); }
END
printf '#include <belay/test.h>\nBL_TEST(passes) { BL_CHECK(t, true); }\n' >none/none_test.c

# 10 lines of queue.c and 2 of queue.h (its first is a declaration).
run "$belay" test -cover -run one ./code/a_test.c
expect 'one of the cases' 0
expect_out 'is counted' '^ok  	./code	[0-9.]+s	coverage: 25.0% of statements$'
run "$belay" test ./code/a_test.c
expect 'without -cover' 0
expect_out 'nothing is' '^ok  	./code	[0-9.]+s$'
run "$belay" test -coverprofile out.info ./code ./none
expect 'two programs of one directory' 0
expect_out 'are added up' '^ok  	./code	[0-9.]+s	coverage: 91.7% of statements$'
expect_out 'no code' '^ok  	./none	[0-9.]+s	coverage: \[no statements\]$'
ok 'the profile has the sources alone' test "$(sed -n 's/^SF:.*code.sub.//p' out.info | paste -sd ' ') $(grep -c '^SF:' out.info)" = 'queue.c queue.h 2'
ok 'with counts' test "$(sed -n '/queue.c/,/end_of/p' out.info | paste -sd ' ' | sed 's/.*queue.c //')" = \
    'DA:2,4 DA:4,4 DA:5,1 DA:6,3 DA:7,1 DA:8,2 DA:9,1 DA:10,1 DA:11,1 DA:12,0 LF:10 LH:9 end_of_record'
if command -v genhtml >/dev/null; then
    ok 'genhtml reads it' genhtml -o html out.info
fi
run env CRASH=1 "$belay" test -cover ./code
expect 'those that crash or end early' 1
expect_out 'count as well' '^coverage: 91.7% of statements$'
expect_out 'the failure' '^FAIL	./code	[0-9.]+s$'
run "$belay" test -cover -json -run one ./code/a_test.c
expect_out 'as an event' '"Output":"ok  \\t./code\\t[0-9.]+s\\tcoverage: 25.0% of statements\\n"'
run "$belay" test -cover -x ./code
ok 'and nothing is built again' test ! -s "$work/err" -a -z "$(ls -A "$work/tmp")"
rm "$BELAY_CACHE"/*.gcno
run "$belay" test -cover -run one ./code/a_test.c
expect_out 'notes that were lost are made again' 'coverage: 25.0%'

mkdir same same/a same/b
echo 'int a;' >same/a/x.c
echo 'int b;' >same/b/x.c
printf '//belay:sources a/x.c b/x.c\n#include <belay/test.h>\nBL_TEST(passes) {}\n' >same/same_test.c
run "$belay" test -cover ./same
expect 'two sources of one name' 1
expect_err 'are refused' 'two files that are called x.c'
run "$belay" test -coverprofile no/where ./none
expect 'a profile that cannot be written' 1
expect_err 'is named' '^belay: no/where: No such file'
run "$belay" test -cover -fuzz x ./code
expect '-fuzz' 2
mkdir bin
ln -s "$(command -v gcc)" bin/gcc
run env PATH="$work/bin" "$belay" test -cover ./none
expect 'no gcov' 1
expect_err 'is said' '^belay: -cover needs gcov'
if command -v clang >/dev/null; then
    run env CC=clang "$belay" test -cover ./none
    expect 'clang' 1
    expect_err 'is not gcc' '^belay: -cover needs gcc; the compiler is clang'
fi

finish
