# SPDX-License-Identifier: MIT
#
# llhttp (Debian: node-llhttp) comes as C sources. Its object is packed into libbelay.a under names of ours, so that a program
# may have an llhttp of its own. Without it bl_debug_listen says that it is not supported.
# Sets belay_llhttp_objects and belay_llhttp_include, or neither.
set(belay_llhttp_objects "")
set(belay_llhttp_include "")
if(NOT BELAY_LLHTTP)
    return()
endif()

find_path(header_folder llhttp.h HINTS /usr/share/include/llhttp NO_CACHE)
find_path(source_folder llhttp.c HINTS /usr/share/llhttp NO_CACHE)
if(NOT header_folder OR NOT source_folder)
    message(STATUS "llhttp: not found; there is no debug endpoint (Debian: node-llhttp)")
    return()
endif()

set(folder "${CMAKE_BINARY_DIR}/llhttp")
file(MAKE_DIRECTORY "${folder}")
set(parts "")
set(failed 0)
foreach(part api http llhttp)
    if(NOT EXISTS "${folder}/${part}.o" OR "${source_folder}/${part}.c" IS_NEWER_THAN "${folder}/${part}.o")
        execute_process(COMMAND ${CMAKE_C_COMPILER} -O2 -fPIC -fvisibility=hidden -w "-I${header_folder}"
            -c "${source_folder}/${part}.c" -o "${folder}/${part}.o" RESULT_VARIABLE wrong)
        if(wrong)
            set(failed 1)
        endif()
    endif()
    list(APPEND parts "${folder}/${part}.o")
endforeach()
if(NOT failed)
    execute_process(COMMAND ${CMAKE_LINKER} -r -o "${folder}/all.o" ${parts} RESULT_VARIABLE failed)
endif()
if(NOT failed)
    execute_process(COMMAND ${CMAKE_NM} --defined-only --extern-only "${folder}/all.o"
        OUTPUT_VARIABLE names RESULT_VARIABLE failed)
    string(REGEX MATCHALL "[A-Za-z] llhttp_[A-Za-z0-9_]+" names "${names}")
    set(renames "")
    foreach(name ${names})
        string(SUBSTRING "${name}" 2 -1 name)
        string(APPEND renames "${name} bl__${name}\n")
    endforeach()
    file(WRITE "${folder}/names" "${renames}")
    execute_process(COMMAND ${CMAKE_OBJCOPY} "--redefine-syms=${folder}/names" "${folder}/all.o"
        "${folder}/bl__llhttp.o" RESULT_VARIABLE failed)
endif()
if(failed)
    message(STATUS "llhttp: ${source_folder} does not build; there is no debug endpoint")
    return()
endif()

message(STATUS "llhttp: ${source_folder}")
set(belay_llhttp_objects "${folder}/bl__llhttp.o")
set(belay_llhttp_include "${header_folder}")
