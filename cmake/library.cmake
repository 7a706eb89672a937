# SPDX-License-Identifier: MIT
#
# The library, in as many builds as are asked for.
file(GLOB belay_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*/*.c)

# Assembly: of src/arch/*.S the files named after this machine, and those named after none.
file(GLOB assembly CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/arch/*.S)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    set(other "aarch64|arm64")
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
    set(other "x86_64|amd64")
else()
    message(FATAL_ERROR "belay runs on x86-64 and aarch64, not on ${CMAKE_SYSTEM_PROCESSOR}")
endif()
list(FILTER assembly EXCLUDE REGEX "/[^/]*(${other})[^/]*\\.S$")
list(APPEND belay_sources ${assembly})

find_package(Threads REQUIRED)

# What programs are compiled with, so that no frame of theirs reaches over a stack's guard; as by
# cmd/belay/build.c.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    set(belay_user_flags -fstack-clash-protection)
endif()

# What is compiled beside the static library of dev or release is compiled some files at a time, since most of what a compiler
# reads is headers, which takes two thirds of the time. Whether each file is complete by itself is for those two to see.
function(belay_together name)
    set_target_properties(${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 16)
endfunction()

function(belay_library_common name)
    target_link_libraries(${name} PRIVATE $<BUILD_INTERFACE:belay_flags> PUBLIC Threads::Threads)
    # Where the library's code lies: src/arch/own.h.
    target_compile_options(${name} PRIVATE "$<$<COMPILE_LANGUAGE:C>:SHELL:-include \"${PROJECT_SOURCE_DIR}/src/arch/own.h\">")
    target_compile_definitions(${name} PUBLIC __NO_CTYPE=1) # see belay.h
    target_compile_options(${name} INTERFACE $<$<COMPILE_LANGUAGE:C,CXX>:${belay_user_flags}>)
    target_include_directories(${name}
        PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
               $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
        PRIVATE ${PROJECT_SOURCE_DIR}/src)
    if(belay_backtrace_objects)
        target_sources(${name} PRIVATE ${belay_backtrace_objects})
        target_include_directories(${name} SYSTEM PRIVATE ${belay_backtrace_include})
        target_compile_definitions(${name} PRIVATE BL__HAVE_LIBBACKTRACE=1)
    endif()
    if(belay_llhttp_objects)
        target_sources(${name} PRIVATE ${belay_llhttp_objects})
        target_include_directories(${name} SYSTEM PRIVATE ${belay_llhttp_include})
        target_compile_definitions(${name} PRIVATE BL__HAVE_LLHTTP=1)
    endif()
endfunction()

# Hidden: what a user links into a shared object of their own does not leak out of it. PIE whatever
# the compiler's default is, so that it links into either kind of program.
function(belay_static_library name flags)
    add_library(${name} STATIC ${belay_sources})
    belay_library_common(${name})
    target_compile_options(${name} PRIVATE -fPIE -fvisibility=hidden ${flags})
    if(flags OR BELAY_SANITIZE MATCHES "address")
        belay_together(${name})
    endif()
endfunction()

# Not hidden: the map decides what is exported, and binds the rest within the library. The runtime
# reads its thread-locals on every call, hence the static TLS model; it takes a few words.
function(belay_shared_library name)
    set(map ${PROJECT_SOURCE_DIR}/cmake/belay.map)
    add_library(${name} SHARED ${belay_sources})
    belay_library_common(${name})
    belay_together(${name})
    target_compile_options(${name} PRIVATE -fPIC -ftls-model=initial-exec)
    target_link_options(${name} PRIVATE -Wl,--version-script=${map} -Wl,-Bsymbolic-functions
        -Wl,-z,relro,-z,now)
    if(NOT BELAY_SANITIZE)
        target_link_options(${name} PRIVATE -Wl,-z,defs)
    endif()
    # Before 1.0 a minor version may change the interface, as cmake/install.cmake says of the package.
    set(soversion ${PROJECT_VERSION_MAJOR})
    if(soversion EQUAL 0)
        set(soversion 0.${PROJECT_VERSION_MINOR})
    endif()
    set_target_properties(${name} PROPERTIES OUTPUT_NAME belay EXPORT_NAME shared
        VERSION ${PROJECT_VERSION} SOVERSION ${soversion} LINK_DEPENDS ${map})
endfunction()

# Not instrumented: for programs that are, with the edges of the memory model said at their places and
# libc's functions bound to those of src/os/race_libc.c (src/arch/race.h).
function(belay_race_library name)
    set(names ${PROJECT_SOURCE_DIR}/cmake/race.syms)
    belay_static_library(${name} "-DBL__RACE=1")
    set_target_properties(${name} PROPERTIES LINK_DEPENDS ${names})
    add_custom_command(TARGET ${name} POST_BUILD VERBATIM
        COMMAND ${CMAKE_OBJCOPY} --redefine-syms=${names} $<TARGET_FILE:${name}>)
endfunction()
