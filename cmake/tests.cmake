# SPDX-License-Identifier: MIT
#
# Every test/NOUN_test.c and test/stress/NOUN_stress.c is a program of its own, linked with the
# static library, and every test/NOUN_test.sh gets the build tree as its argument. scripts/run-tests
# runs them, and so does ctest.
file(GLOB unit_tests CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/test/*_test.c)
file(GLOB stress_tests CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/test/stress/*.c)
file(GLOB script_tests CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/test/*_test.sh)
list(FILTER script_tests EXCLUDE REGEX /libs_test.sh) # make test-libs: it starts servers
set(runner ${PROJECT_SOURCE_DIR}/scripts/run-tests)

# Tests with link options of their own. test/fault.h stands between the library and the system.
set(faults malloc calloc posix_memalign mmap madvise mprotect pthread_create syscall)
list(TRANSFORM faults PREPEND -Wl,--wrap= OUTPUT_VARIABLE fault_test_link_options)

foreach(source IN LISTS unit_tests stress_tests)
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} ${source})
    target_link_libraries(${name} PRIVATE belay belay_flags)
    target_link_options(${name} PRIVATE ${${name}_link_options})
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/test)
    if(CMAKE_CROSSCOMPILING_EMULATOR) # test/harness.h does not count its threads
        target_link_options(${name} PRIVATE -Wl,--wrap=bl__thread_count)
        target_compile_definitions(${name} PRIVATE HARNESS_EMULATOR=1)
    endif()
    if(belay_backtrace_include)
        target_compile_definitions(${name} PRIVATE BL__HAVE_LIBBACKTRACE=1)
    endif()
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
    foreach(procs IN ITEMS 1 2 8)
        add_test(NAME ${name}/${procs}
            COMMAND ${runner} -procs ${procs} ${CMAKE_BINARY_DIR} ${name})
    endforeach()
endforeach()

foreach(source IN LISTS script_tests)
    get_filename_component(name ${source} NAME_WE)
    add_test(NAME ${name} COMMAND ${runner} ${CMAKE_BINARY_DIR} ${name})
endforeach()
