# What "cmake --install" leaves: the library with its public headers, for find_package and pkg-config, and the program.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/vellum")
install(TARGETS vellum EXPORT vellumTargets FILE_SET HEADERS)
install(EXPORT vellumTargets NAMESPACE vellum:: DESTINATION "${package_dir}")
configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/vellumConfig.cmake.in" "${PROJECT_BINARY_DIR}/vellumConfig.cmake"
                              INSTALL_DESTINATION "${package_dir}")
# Before 1.0 a minor version may break source compatibility.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/vellumConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/vellumConfig.cmake" "${PROJECT_BINARY_DIR}/vellumConfigVersion.cmake"
        DESTINATION "${package_dir}")

file(RELATIVE_PATH VELLUM_PC_TO_PREFIX "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
string(REGEX REPLACE "/$" "" VELLUM_PC_TO_PREFIX "${VELLUM_PC_TO_PREFIX}")
configure_file("${CMAKE_CURRENT_LIST_DIR}/vellum.pc.in" "${PROJECT_BINARY_DIR}/vellum.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/vellum.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/vellum")

if(TARGET vellum_program)
  install(TARGETS vellum_program RUNTIME)
  # The same program under the name that scripts call it by, out of the way of a real etcd.
  install(CODE "
    set(names \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBEXECDIR}/vellum\")
    file(MAKE_DIRECTORY \"\${names}\")
    file(CREATE_LINK \"../../${CMAKE_INSTALL_BINDIR}/vellum\" \"\${names}/etcd\" SYMBOLIC)")
endif()
