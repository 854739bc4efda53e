# A room is one folder of src/: an object library of its own, named vellum_<room>.
#
#   vellum_room(kv SOURCES a.cc b.cc NEEDS vellum_storage LIBRARIES RocksDB::rocksdb-shared PCH <rocksdb/db.h>)
#
# NEEDS are the rooms below it, LIBRARIES third parties that stay private to it, PCH third-party headers
# that are worth compiling once.
set(VELLUM_STD_PCH <algorithm> <atomic> <chrono> <cstdint> <functional> <map> <memory> <optional>
    <string> <string_view> <thread> <unordered_map> <utility> <variant> <vector>)

function(vellum_room name)
  cmake_parse_arguments(ARG "" "" "SOURCES;NEEDS;LIBRARIES;PCH" ${ARGN})
  add_library(vellum_${name} OBJECT ${ARG_SOURCES})
  target_include_directories(vellum_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>)
  target_link_libraries(vellum_${name} PUBLIC ${ARG_NEEDS} ${ARG_LIBRARIES} Threads::Threads
                        PRIVATE $<BUILD_INTERFACE:vellum_build_flags>)
  target_precompile_headers(vellum_${name} PRIVATE ${VELLUM_STD_PCH} ${ARG_PCH})
  set_target_properties(vellum_${name} PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
endfunction()

# The objects of a room and of every room below it, for an executable: object libraries do not pass
# their objects on by themselves.
#
#   vellum_link_rooms(target base storage kv)
function(vellum_link_rooms target)
  foreach(room ${ARGN})
    target_link_libraries(${target} PRIVATE vellum_${room})
  endforeach()
  target_link_libraries(${target} PRIVATE vellum_build_flags)
endfunction()

# How long a test may take at the most: `seconds`, and under a sanitizer five times that.
function(vellum_timeout result seconds)
  if(VELLUM_SANITIZE)
    math(EXPR seconds "${seconds} * 5")
  endif()
  set(${result} ${seconds} PARENT_SCOPE)
endfunction()

# The unit tests of a room, which lie beside its code, as one program vellum_<room>_test.
#
#   vellum_room_test(kv ROOMS base storage kv SOURCES a_test.cc b_test.cc)
function(vellum_room_test name)
  if(NOT VELLUM_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "SOURCES;ROOMS;LIBRARIES" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  vellum_timeout(ARG_TIMEOUT ${ARG_TIMEOUT})
  find_package(GTest REQUIRED)
  include(GoogleTest)
  add_executable(vellum_${name}_test ${ARG_SOURCES})
  vellum_link_rooms(vellum_${name}_test ${ARG_ROOMS})
  target_link_libraries(vellum_${name}_test PRIVATE GTest::gtest GTest::gtest_main ${ARG_LIBRARIES})
  target_precompile_headers(vellum_${name}_test PRIVATE ${VELLUM_STD_PCH} <gtest/gtest.h>)
  gtest_discover_tests(vellum_${name}_test DISCOVERY_MODE PRE_TEST
                       PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT})
endfunction()
