/* SPDX-License-Identifier: MIT */
/* Names of functions of C++ in reports (src/debug/cxxname.c). */
//belay:cflags -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <string.h>

#include "debug/cxxname.h"

static const struct {
    const char *name, *is;
} names[] = {
    {"main", "main"},
    {"_Z4workPv", "work"},
    {"_ZL4workPv", "work"},
    {"_ZN8Registry4findERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE", "Registry::find"},
    {"_ZNK8Registry4sizeEv", "Registry::size"},
    {"_ZN7PromiseIiE3getERi", "Promise<...>::get"},
    {"_ZN5queueISt4pairIiN3net4addrEELi16EE4pushEOS3_", "queue<...>::push"},
    {"_ZN12Subscription3runEv", "Subscription::run"},
    {"_ZN3net6ServerC2EPKc", "net::Server::Server"},
    {"_ZN3net6ServerD1Ev", "net::Server::~Server"},
    {"_ZSt4sortIPiEvT_S1_", "std::sort<...>"},
    {"_ZNSt6thread4joinEv", "std::thread::join"},
    {"_ZN12_GLOBAL__N_14workEPv", "_GLOBAL__N_1::work"},
    {"_Z3addILb1EEvv", "add<...>"},
    {"_ZplRK1AS1_", "_ZplRK1AS1_"},
    {"_ZZ3runPvENKUlvE_clEv", "_ZZ3runPvENKUlvE_clEv"},
    {"_ZN1AplERKS_", "_ZN1AplERKS_"},
    {"_ZN9short", "_ZN9short"},
    {"_ZN3net", "_ZN3net"},
    {"_ZN3netI", "_ZN3netI"},
    {"_Z", "_Z"},
    {"_ZN", "_ZN"},
    {"_Z99999999999999999999a", "_Z99999999999999999999a"},
};

BL_TEST(names_are_those_of_the_source)
{
    char to[64];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(bl__cxx_name(names[i].name, to, sizeof to), names[i].is) != 0)
            bl_error(t, "%s: %s", names[i].name, bl__cxx_name(names[i].name, to, sizeof to));
}

BL_TEST(a_name_without_room_stays)
{
    char to[16];
    for (size_t room = 0; room <= 14; room++)
        BL_CHECK_EQ(t, bl__cxx_name("_ZN8Registry4findEv", to, room)[0], '_');
    BL_CHECK_EQ(t, strcmp(bl__cxx_name("_ZN8Registry4findEv", to, 15), "Registry::find"), 0);
}
