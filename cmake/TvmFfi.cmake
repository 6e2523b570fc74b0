# The tvm-ffi C headers and library, from the Python package apache-tvm-ffi (tools/setup puts it into .venv) or from
# TVM_FFI_DIR, the package's directory; a wheel's build has it in its environment. Gives tvm_ffi::headers (DLPack included) and tvm_ffi::shared.
#
# Nothing of ours links libtvm_ffi but kernel packages: the library opens it at the first native load. A copy lies beside
# libkernels.so, in the build tree as when installed, where the library's RUNPATH finds it.

if(NOT TVM_FFI_DIR AND SKBUILD) # a wheel is built against the one of its build environment
  find_package(Python3 3.10 REQUIRED COMPONENTS Interpreter)
  execute_process(COMMAND ${Python3_EXECUTABLE} -c
                          "import importlib.util as u; print(u.find_spec('tvm_ffi').submodule_search_locations[0])"
                  OUTPUT_VARIABLE TVM_FFI_DIR OUTPUT_STRIP_TRAILING_WHITESPACE)
elseif(NOT TVM_FFI_DIR)
  file(GLOB TVM_FFI_DIR ${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/tvm_ffi)
endif()
if(NOT EXISTS "${TVM_FFI_DIR}/include/tvm/ffi/c_api.h")
  message(FATAL_ERROR "tvm-ffi was not found in '${TVM_FFI_DIR}': run tools/setup, or set TVM_FFI_DIR to the directory "
                      "tvm_ffi of the Python package apache-tvm-ffi")
endif()
set(TVM_FFI_DLPACK_INCLUDE ${TVM_FFI_DIR}/3rdparty/dlpack/include)
if(NOT EXISTS "${TVM_FFI_DLPACK_INCLUDE}/dlpack/dlpack.h")
  set(TVM_FFI_DLPACK_INCLUDE ${TVM_FFI_DIR}/include) # an installed copy of ours keeps both in one place
endif()
set(TVM_FFI_LIBRARY ${TVM_FFI_DIR}/lib/libtvm_ffi.so)

add_library(tvm_ffi_headers INTERFACE)
add_library(tvm_ffi::headers ALIAS tvm_ffi_headers)
target_include_directories(tvm_ffi_headers SYSTEM INTERFACE ${TVM_FFI_DIR}/include ${TVM_FFI_DLPACK_INCLUDE})

file(MAKE_DIRECTORY ${CMAKE_LIBRARY_OUTPUT_DIRECTORY})
file(COPY ${TVM_FFI_LIBRARY} DESTINATION ${CMAKE_LIBRARY_OUTPUT_DIRECTORY})
add_library(tvm_ffi::shared SHARED IMPORTED GLOBAL)
set_target_properties(tvm_ffi::shared PROPERTIES IMPORTED_LOCATION ${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/libtvm_ffi.so
                      IMPORTED_SONAME libtvm_ffi.so)
target_link_libraries(tvm_ffi::shared INTERFACE tvm_ffi_headers)
