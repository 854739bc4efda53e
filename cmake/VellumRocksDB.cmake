# Which RocksDB the rooms are linked with: the target vellum_rocksdb. The headers are always the packaged ones; what
# ./dev rocksdb builds is the same version of the same source, as a release without assertions.
#
# By default release builds take that one when it is there, and all others the packaged one, whose assertions watch how it is
# used. The installed library always asks its users for the packaged one.
set(VELLUM_ROCKSDB "auto" CACHE STRING "auto, packaged, or optimised: what ./dev rocksdb built")
set_property(CACHE VELLUM_ROCKSDB PROPERTY STRINGS auto packaged optimised)

find_package(RocksDB REQUIRED)
execute_process(COMMAND "${CMAKE_CURRENT_LIST_DIR}/../tools/rocksdb.sh" --path
                OUTPUT_VARIABLE optimised_rocksdb OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
set(optimised_rocksdb "${optimised_rocksdb}/lib/librocksdb.a")
set(use_optimised OFF)
if(VELLUM_ROCKSDB STREQUAL "optimised")
  if(NOT EXISTS "${optimised_rocksdb}")
    message(FATAL_ERROR "there is no optimised RocksDB (${optimised_rocksdb}): ./dev rocksdb builds it")
  endif()
  set(use_optimised ON)
elseif(VELLUM_ROCKSDB STREQUAL "auto")
  if(CMAKE_BUILD_TYPE STREQUAL "Release" AND EXISTS "${optimised_rocksdb}")
    set(use_optimised ON)
  endif()
elseif(NOT VELLUM_ROCKSDB STREQUAL "packaged")
  message(FATAL_ERROR "VELLUM_ROCKSDB is '${VELLUM_ROCKSDB}': auto, packaged or optimised")
endif()

add_library(vellum_rocksdb INTERFACE)
if(use_optimised)
  find_package(ZLIB REQUIRED)
  find_package(BZip2 REQUIRED)
  find_package(PkgConfig REQUIRED)
  pkg_check_modules(ROCKSDB_COMPRESSORS REQUIRED IMPORTED_TARGET liblz4 libzstd)
  find_library(VELLUM_SNAPPY snappy REQUIRED)
  target_link_libraries(vellum_rocksdb INTERFACE "${optimised_rocksdb}" PkgConfig::ROCKSDB_COMPRESSORS "${VELLUM_SNAPPY}"
                        ZLIB::ZLIB BZip2::BZip2 ${CMAKE_DL_LIBS} Threads::Threads)
  set(VELLUM_ROCKSDB_BUILD "optimised")
else()
  target_link_libraries(vellum_rocksdb INTERFACE RocksDB::rocksdb-shared)
  set(VELLUM_ROCKSDB_BUILD "packaged")
endif()
