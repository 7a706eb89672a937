# SPDX-License-Identifier: MIT
#
# The flags of the project's own code: target belay_flags. Users of the library get none of them, but
# belay_user_flags (library.cmake).
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g")
set(belay_asan_flags -fsanitize=address,undefined -fno-sanitize-recover=undefined
    -fno-omit-frame-pointer)

add_library(belay_flags INTERFACE)
target_compile_definitions(belay_flags INTERFACE _GNU_SOURCE $<$<CONFIG:Debug>:BL__DEBUG=1>)
target_compile_options(belay_flags INTERFACE
    $<$<COMPILE_LANGUAGE:C>:-Wall;-Wextra;-Wstrict-prototypes;-Wmissing-prototypes>
    $<$<BOOL:${BELAY_WERROR}>:-Werror>
    # The fields that threads share are plain-typed words which hold pointers, counts and flags.
    -fno-strict-aliasing
    # Reports walk stacks from any instruction.
    -fasynchronous-unwind-tables)

# What is installed names no folder of who has built it, and is the same wherever that was (but for what gcc's
# UndefinedBehaviorSanitizer says, which it does not map). gdb finds the sources with
# set substitute-path /usr/src/belay-VERSION TREE.
if(PROJECT_IS_TOP_LEVEL)
    foreach(folder ${PROJECT_BINARY_DIR} ${PROJECT_SOURCE_DIR}) # of two that fit the last counts
        target_compile_options(belay_flags INTERFACE
            "$<$<CONFIG:Release>:-ffile-prefix-map=${folder}=/usr/src/belay-${PROJECT_VERSION}>")
    endforeach()
endif()

if(BELAY_SANITIZE MATCHES "address")
    set(belay_sanitize_flags ${belay_asan_flags})
elseif(BELAY_SANITIZE)
    set(belay_sanitize_flags -fsanitize=${BELAY_SANITIZE} -fno-omit-frame-pointer)
else()
    set(belay_sanitize_flags "")
endif()
if(BELAY_SANITIZE)
    target_compile_options(belay_flags INTERFACE ${belay_sanitize_flags})
    target_link_options(belay_flags INTERFACE ${belay_sanitize_flags})
endif()
