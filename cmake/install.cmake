# SPDX-License-Identifier: MIT
include(CMakePackageConfigHelpers)

install(TARGETS belay EXPORT belay ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET belay_asan)
    install(TARGETS belay_asan OPTIONAL ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
if(TARGET belay_race)
    install(TARGETS belay_race OPTIONAL ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
if(BELAY_SHARED)
    install(TARGETS belay_shared EXPORT belay LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
if(TARGET belay_cmd)
    install(TARGETS belay_cmd RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    install(FILES ${PROJECT_SOURCE_DIR}/cmd/belay/belay.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILES_MATCHING PATTERN "*.h")

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Belay)
install(EXPORT belay NAMESPACE belay:: FILE BelayTargets.cmake DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/BelayConfigVersion.cmake
    VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/BelayConfigVersion.cmake
    ${PROJECT_SOURCE_DIR}/cmake/BelayConfig.cmake DESTINATION ${package_dir})

# gdb loads a script named after the library's file by itself, if gdb was installed with this prefix; it runs what
# is in the system's folder for that at each start, also for who links statically, so with a prefix of the system's the
# script goes there. Others source it.
set(gdb_dir ${CMAKE_INSTALL_DATADIR}/gdb/auto-load)
set(gdb_script ${PROJECT_SOURCE_DIR}/share/gdb/belay-gdb.py)
install(FILES ${gdb_script} DESTINATION ${gdb_dir})
if(BELAY_SHARED)
    install(FILES ${gdb_script} DESTINATION ${gdb_dir}${CMAKE_INSTALL_FULL_LIBDIR}
        RENAME libbelay.so.${PROJECT_VERSION}-gdb.py)
endif()
install(CODE "set(gdb_script \"${gdb_script}\")")
install(CODE [[
if(CMAKE_INSTALL_PREFIX MATCHES "^/usr(/local)?/?$")
    execute_process(COMMAND gdb --configuration OUTPUT_VARIABLE gdb_said ERROR_QUIET)
    if(gdb_said MATCHES "--with-system-gdbinit-dir=(/[^\n ]*)")
        file(INSTALL "${gdb_script}" DESTINATION "${CMAKE_MATCH_1}" RENAME belay.py)
    endif()
endif()
]])

# belay.pc names its places relative to itself, so that an installation can be moved.
file(RELATIVE_PATH pc_to_prefix
    ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(${PROJECT_SOURCE_DIR}/belay.pc.in ${CMAKE_BINARY_DIR}/belay.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/belay.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
