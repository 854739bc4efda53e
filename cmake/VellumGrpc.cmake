# Which gRPC, Abseil and Protobuf the rooms are linked with: the targets vellum_grpc and vellum_abseil, and protobuf::libprotobuf.
#
# As shared libraries they are fifty of the seventy that the program would load each time it is started, which takes longer than
# most commands. So release builds take the archives that the same packages bring. All others, and the installed library's users,
# take the shared ones.
set(VELLUM_GRPC "auto" CACHE STRING "auto, shared, or static")
set_property(CACHE VELLUM_GRPC PROPERTY STRINGS auto shared static)

find_package(absl REQUIRED)
find_package(PkgConfig REQUIRED)

# The archives of gRPC C++ and of what it is made of, in `result`; empty unless all of them are there. What other parts of the
# program use, too, stays out.
function(vellum_grpc_archives result)
  set(archives "")
  pkg_check_modules(VELLUM_GRPCPP QUIET grpc++)
  set(names ${VELLUM_GRPCPP_STATIC_LIBRARIES} absl_time absl_strings)
  list(REMOVE_DUPLICATES names)
  foreach(name IN LISTS names)
    if(NOT name MATCHES "^(grpc|gpr|upb|address_sorting|re2|cares|absl_)")
      continue()
    endif()
    find_library(VELLUM_ARCHIVE_${name} "lib${name}.a")
    mark_as_advanced(VELLUM_ARCHIVE_${name})
    if(NOT VELLUM_ARCHIVE_${name})
      set(archives "")
      break()
    endif()
    list(APPEND archives "${VELLUM_ARCHIVE_${name}}")
  endforeach()
  if(NOT VELLUM_GRPCPP_FOUND)
    set(archives "")
  endif()
  set(${result} "${archives}" PARENT_SCOPE)
endfunction()

set(grpc_archives "")
# Where only the library is built, it is for somebody else's program, which may have the shared ones.
if(VELLUM_GRPC STREQUAL "static" OR
   (VELLUM_GRPC STREQUAL "auto" AND CMAKE_BUILD_TYPE STREQUAL "Release" AND VELLUM_BUILD_SERVER))
  vellum_grpc_archives(grpc_archives)
  if(VELLUM_GRPC STREQUAL "static" AND NOT grpc_archives)
    message(FATAL_ERROR "VELLUM_GRPC is 'static', but gRPC's archives are not all there")
  endif()
elseif(NOT VELLUM_GRPC MATCHES "^(auto|shared)$")
  message(FATAL_ERROR "VELLUM_GRPC is '${VELLUM_GRPC}': auto, shared or static")
endif()

add_library(vellum_grpc INTERFACE)
add_library(vellum_abseil INTERFACE)
if(grpc_archives)
  # FindProtobuf's own switch, for everybody who looks for it from here on.
  set(Protobuf_USE_STATIC_LIBS ON)
  foreach(kind "" LITE_ PROTOC_)
    # What an earlier configuration found.
    if("${Protobuf_${kind}LIBRARY_RELEASE}" MATCHES "\\.so$")
      unset(Protobuf_${kind}LIBRARY_RELEASE CACHE)
    endif()
  endforeach()
  find_package(OpenSSL REQUIRED)
  find_package(ZLIB REQUIRED)
  list(JOIN grpc_archives "," grpc_archives)
  target_link_libraries(vellum_abseil INTERFACE "$<LINK_GROUP:RESCAN,${grpc_archives}>")
  target_link_libraries(vellum_grpc INTERFACE vellum_abseil OpenSSL::SSL OpenSSL::Crypto ZLIB::ZLIB ${CMAKE_DL_LIBS} Threads::Threads)
else()
  target_link_libraries(vellum_abseil INTERFACE absl::strings absl::time)
  find_package(gRPC QUIET)
  if(TARGET gRPC::grpc++)
    target_link_libraries(vellum_grpc INTERFACE gRPC::grpc++)
  endif()
endif()
