# SPDX-License-Identifier: MIT
#
# ctest runs what scripts/run-tests does: `belay test` of each test/NOUN_test.c and test/stress/NOUN_stress.c, and each
# test/NOUN_test.sh. Where the command cannot be built or run (a cross build) the programs are built here,
# with the flags and libraries that they name themselves, and a main of their own.
file(GLOB unit_tests CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/test/*_test.c)
file(GLOB stress_tests CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/test/stress/*_stress.c)
file(GLOB script_tests CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/test/*_test.sh)
list(FILTER script_tests EXCLUDE REGEX /libs_test.sh) # make test-libs: it starts servers

function(belay_test_program source name)
    add_executable(${name} ${source} ${PROJECT_SOURCE_DIR}/test/emulated.c)
    target_link_libraries(${name} PRIVATE belay belay_flags)
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src)
    target_compile_options(${name} PRIVATE -fexceptions)
    target_compile_definitions(${name} PRIVATE BL__EMULATED=1)
    target_link_options(${name} PRIVATE -Wl,--wrap=bl__thread_count)
    file(STRINGS ${source} libs REGEX "^//belay:libs ")
    foreach(line IN LISTS libs)
        separate_arguments(words UNIX_COMMAND ${line})
        list(REMOVE_AT words 0)
        target_link_options(${name} PRIVATE ${words})
    endforeach()
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
endfunction()

foreach(source IN LISTS unit_tests stress_tests script_tests)
    get_filename_component(name ${source} NAME)
    if(CMAKE_CROSSCOMPILING AND source MATCHES "\\.c$")
        string(REPLACE .c "" program ${name})
        belay_test_program(${source} ${program})
    endif()
    add_test(NAME ${name}
        COMMAND ${PROJECT_SOURCE_DIR}/scripts/run-tests ${CMAKE_BINARY_DIR} ${name})
endforeach()
