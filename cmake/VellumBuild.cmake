# How everything here is compiled. The flags never reach those who use the library.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1")
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")

find_program(VELLUM_CCACHE ccache)
if(VELLUM_CCACHE)
  # Precompiled headers and ccache agree only with these sloppinesses.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${VELLUM_CCACHE})
endif()

add_library(vellum_build_flags INTERFACE)
target_compile_options(vellum_build_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Woverloaded-virtual
  # g++ 12 sees uninitialised members in moved variants and optionals that are not engaged.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>
  $<$<BOOL:${VELLUM_WERROR}>:-Werror>)
find_program(VELLUM_MOLD mold)
if(VELLUM_MOLD)
  target_link_options(vellum_build_flags INTERFACE -fuse-ld=mold)
endif()
if(VELLUM_SANITIZE)
  target_compile_options(vellum_build_flags INTERFACE -fsanitize=${VELLUM_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  target_link_options(vellum_build_flags INTERFACE -fsanitize=${VELLUM_SANITIZE})
endif()

find_package(Threads REQUIRED)
