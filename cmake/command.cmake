# SPDX-License-Identifier: MIT
#
# The command. It finds the library relative to itself: beside it in a build tree (with `include`
# a link to the headers), or in the places of an installation, which it is told as relative paths.
file(GLOB belay_cmd_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cmd/belay/*.c)
if(NOT belay_cmd_sources)
    return()
endif()
file(RELATIVE_PATH bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
file(RELATIVE_PATH bin_to_include ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_INCLUDEDIR})

add_library(belay_cmd_flags INTERFACE)
if(BELAY_SANITIZE MATCHES "thread")
    set(tree_mode MODE_RACE)
    # It has one thread, and ThreadSanitizer keeps signals from it while it waits for the program.
    target_compile_options(belay_cmd_flags INTERFACE -fno-sanitize=thread)
    target_link_options(belay_cmd_flags INTERFACE -fno-sanitize=thread)
elseif(BELAY_SANITIZE)
    set(tree_mode MODE_ASAN)
else()
    set(tree_mode MODE_PLAIN)
endif()

add_executable(belay_cmd ${belay_cmd_sources} ${PROJECT_SOURCE_DIR}/src/core/variables.c
               ${PROJECT_SOURCE_DIR}/src/test/flags.c ${PROJECT_SOURCE_DIR}/src/test/xml.c)
target_link_libraries(belay_cmd PRIVATE belay_flags belay_cmd_flags)
target_include_directories(belay_cmd PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
target_compile_definitions(belay_cmd PRIVATE
    BELAY_BIN_TO_LIB="${bin_to_lib}" BELAY_BIN_TO_INCLUDE="${bin_to_include}"
    BELAY_TREE_MODE=${tree_mode}
    BELAY_TREE_DEFINES="$<$<CONFIG:Debug>:-DBL__DEBUG=1>$<$<BOOL:${belay_backtrace_include}>: -DBL__HAVE_LIBBACKTRACE=1>")
# Names and lines in 'belay dump' and 'belay top'.
find_path(belay_libdw_include elfutils/libdwfl.h)
find_library(belay_libdw_library dw)
if(belay_libdw_include AND belay_libdw_library)
    target_compile_definitions(belay_cmd PRIVATE BELAY_HAVE_LIBDW=1)
    target_link_libraries(belay_cmd PRIVATE ${belay_libdw_library})
else()
    message(STATUS "libdw: not found; 'belay dump' has no stacks (libdw-dev)")
endif()
set_target_properties(belay_cmd PROPERTIES OUTPUT_NAME belay)
file(CREATE_LINK ${PROJECT_SOURCE_DIR}/include ${CMAKE_BINARY_DIR}/include SYMBOLIC)
