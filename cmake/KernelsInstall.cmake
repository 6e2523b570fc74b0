# What `cmake --install` gives: headers, the shared library, libtvm_ffi.so beside it with its C headers, the command line
# programs, libkernels.pc, and the CMake package libkernels (kernels::kernels, kernels::cli, kernels_add_package).

include(CMakePackageConfigHelpers)

set(KN_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/libkernels)

install(TARGETS kernels EXPORT libkernels-targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/kernels DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN *.h)
install(FILES ${TVM_FFI_LIBRARY} DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${TVM_FFI_DIR}/include/tvm/ffi/c_api.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tvm/ffi)
install(FILES ${TVM_FFI_DIR}/include/tvm/ffi/extra/c_env_api.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tvm/ffi/extra)
install(FILES ${TVM_FFI_DLPACK_INCLUDE}/dlpack/dlpack.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/dlpack)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
file(GLOB tvm_ffi_licenses ${TVM_FFI_DIR}/../apache_tvm_ffi-*.dist-info/licenses/*)
install(FILES ${tvm_ffi_licenses} DESTINATION ${CMAKE_INSTALL_DOCDIR}/tvm-ffi)

if(TARGET kernels_cli)
  cmake_path(RELATIVE_PATH CMAKE_INSTALL_FULL_LIBDIR BASE_DIRECTORY ${CMAKE_INSTALL_FULL_BINDIR} OUTPUT_VARIABLE lib_from_bin)
  set_target_properties(kernels_cli PROPERTIES INSTALL_RPATH "$ORIGIN/${lib_from_bin}" EXPORT_NAME cli)
  set_target_properties(kernels_serve PROPERTIES INSTALL_RPATH "$ORIGIN/${lib_from_bin}")
  install(TARGETS kernels_serve RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(TARGETS kernels_cli EXPORT libkernels-targets RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

# Both find the prefix from where they lie, so that an installed tree may be moved.
install(EXPORT libkernels-targets NAMESPACE kernels:: DESTINATION ${KN_CMAKE_DIR})
configure_package_config_file(cmake/libkernels-config.cmake.in ${PROJECT_BINARY_DIR}/libkernels-config.cmake
                              INSTALL_DESTINATION ${KN_CMAKE_DIR} NO_SET_AND_CHECK_MACRO
                              PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/libkernels-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/libkernels-config.cmake ${PROJECT_BINARY_DIR}/libkernels-config-version.cmake
              cmake/KernelsPackage.cmake
        DESTINATION ${KN_CMAKE_DIR})

cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig
           OUTPUT_VARIABLE prefix_from_pc)
configure_file(cmake/libkernels.pc.in ${PROJECT_BINARY_DIR}/libkernels.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/libkernels.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
