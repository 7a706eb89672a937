# SPDX-License-Identifier: MIT
#
# libbacktrace lies in gcc's own directory, where no -l finds it. Its objects are packed into
# libbelay.a, so that a program needs only -lbelay; its header is copied, since gcc's directory of
# headers must not be in clang's path.
# Sets belay_backtrace_objects and belay_backtrace_include, or neither.
set(belay_backtrace_objects "")
set(belay_backtrace_include "")
if(NOT BELAY_BACKTRACE)
    return()
endif()

execute_process(COMMAND ${CMAKE_C_COMPILER} -print-file-name=libbacktrace.a
    OUTPUT_VARIABLE archive OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
get_filename_component(header "${archive}" DIRECTORY)
set(header "${header}/include/backtrace.h")
if(NOT IS_ABSOLUTE "${archive}" OR NOT EXISTS "${archive}" OR NOT EXISTS "${header}")
    message(STATUS "libbacktrace: not found; reports have function names only")
    return()
endif()

set(folder "${CMAKE_BINARY_DIR}/backtrace")
file(MAKE_DIRECTORY "${folder}/objects" "${folder}/include")
file(COPY "${header}" DESTINATION "${folder}/include")
execute_process(COMMAND ${CMAKE_AR} x "${archive}" WORKING_DIRECTORY "${folder}/objects"
    RESULT_VARIABLE failed)
file(GLOB objects "${folder}/objects/*.o")

# Both libraries take the objects, and the shared one only if they are position independent.
file(WRITE "${folder}/check.c" "#include <backtrace.h>
struct backtrace_state *check(void) { return backtrace_create_state(0, 1, 0, 0); }\n")
execute_process(COMMAND ${CMAKE_C_COMPILER} -shared -fPIC "-I${folder}/include" -Wl,-z,defs
    "${folder}/check.c" ${objects} -o "${folder}/check.so"
    RESULT_VARIABLE not_linked OUTPUT_QUIET ERROR_QUIET)
if(failed OR not_linked OR NOT objects)
    message(STATUS "libbacktrace: ${archive} does not link; reports have function names only")
    return()
endif()

# Its memory is known by that, and it reads no more than is asked for: src/debug/symbol.c.
execute_process(COMMAND ${CMAKE_OBJCOPY} --redefine-sym mmap=bl__symbol_mmap
    --redefine-sym munmap=bl__symbol_munmap "${folder}/objects/mmap.o" RESULT_VARIABLE not_renamed)
if(not_renamed)
    message(STATUS "libbacktrace: ${CMAKE_OBJCOPY} failed; searches for stuck goroutines read its memory, too")
endif()
execute_process(COMMAND ${CMAKE_OBJCOPY} --redefine-sym dl_iterate_phdr=bl__symbol_modules
    "${folder}/objects/elf.o" RESULT_VARIABLE not_renamed)
if(not_renamed)
    message(STATUS "libbacktrace: ${CMAKE_OBJCOPY} failed; the first report reads the libraries' debug information, too")
endif()

message(STATUS "libbacktrace: ${archive}")
set(belay_backtrace_objects ${objects})
set(belay_backtrace_include "${folder}/include")
