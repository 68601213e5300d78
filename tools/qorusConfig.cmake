# SPDX-License-Identifier: MIT
# qorusConfig.cmake: what find_package(qorus) reads of an installed library; it gives the target qorus::qorus. The folder
# may be moved: everything is found from where this file lies, PREFIX/lib/cmake/qorus.
get_filename_component(_qorus_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

if(NOT TARGET qorus::qorus)
  add_library(qorus::qorus STATIC IMPORTED)
  set_target_properties(qorus::qorus PROPERTIES
    IMPORTED_LOCATION "${_qorus_prefix}/lib/libqorus.a"
    INTERFACE_INCLUDE_DIRECTORIES "${_qorus_prefix}/include"
    INTERFACE_LINK_LIBRARIES -pthread)
endif()

unset(_qorus_prefix)
