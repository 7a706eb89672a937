# SPDX-License-Identifier: MIT
#
#     find_package(Belay REQUIRED)
#     target_link_libraries(program PRIVATE belay::belay)     # or belay::shared
include(CMakeFindDependencyMacro)
find_dependency(Threads)
include(${CMAKE_CURRENT_LIST_DIR}/BelayTargets.cmake)
