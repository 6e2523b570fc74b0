# kernels_add_package(): one line of CMake for a kernel author, in this tree and with an installed libkernels.
#
#   kernels_add_package(<name> VERSION <n> LAYERS <layers.json> SOURCES <file>…
#                       [CARD <CARD.md>] [LICENSE <SPDX expression>] [BACKEND <cpu>] [INCLUDE <dir>…]
#                       [CPU_FEATURES <name>…] [NO_RUN] [DEPENDS <target or file>…] [OUTPUT <dir>])
#
# Builds the shared object <name>.so, target kernel_<name>, as the loader's rules want it: only the __tvm_ffi_ symbols
# leave it, it needs nothing but libtvm_ffi, the C and C++ run-time libraries and libgomp, and it has no RPATH. OpenMP is
# on with gcc; other compilers would bring a second run-time library, and ThreadSanitizer does not know libgomp.
#
# Then runs `kernels pack`, target package_<name>, which runs every layer once for every data type that its signature
# admits and writes the variant to <dir>/<name>/build/<variant>; <dir> is ${CMAKE_BINARY_DIR}/packages by default.
# INCLUDE adds include directories, DEPENDS what must be built before the object. CPU_FEATURES are instruction sets that the
# code uses without asking the CPU; NO_RUN leaves the layers unrun. See docs/packages.md.

function(kernels_add_package name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "NO_RUN" "VERSION;LAYERS;CARD;LICENSE;BACKEND;OUTPUT"
                        "SOURCES;INCLUDE;CPU_FEATURES;DEPENDS")
  foreach(required VERSION LAYERS SOURCES)
    if(NOT arg_${required})
      message(FATAL_ERROR "kernels_add_package(${name}): ${required} is missing")
    endif()
  endforeach()
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "kernels_add_package(${name}): unknown arguments: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT arg_VERSION MATCHES "^(0|[1-9][0-9]*)$")
    message(FATAL_ERROR "kernels_add_package(${name}): VERSION must be a whole number, got '${arg_VERSION}'")
  endif()
  if(NOT arg_BACKEND)
    set(arg_BACKEND cpu)
  endif()
  if(NOT arg_OUTPUT)
    set(arg_OUTPUT ${CMAKE_BINARY_DIR}/packages)
  endif()
  cmake_path(ABSOLUTE_PATH arg_LAYERS BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} NORMALIZE)

  # The shared object.
  set(target kernel_${name})
  set(exports ${CMAKE_CURRENT_BINARY_DIR}/${name}.map)
  file(WRITE ${exports} "{ global: __tvm_ffi_*; local: *; };\n")
  add_library(${target} MODULE ${arg_SOURCES})
  set_target_properties(${target} PROPERTIES PREFIX "" OUTPUT_NAME ${name} NO_SONAME ON
                        LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR} LINK_DEPENDS ${exports}
                        C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
                        POSITION_INDEPENDENT_CODE ON BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "")
  target_compile_features(${target} PRIVATE c_std_11)
  target_include_directories(${target} PRIVATE ${arg_INCLUDE}
                             $<TARGET_PROPERTY:kernels::kernels,INTERFACE_INCLUDE_DIRECTORIES>)
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:$<$<COMPILE_LANGUAGE:CXX>:-fno-gnu-unique>>
                         $<$<CONFIG:Debug,>:-O2>) # kernels are optimized in every build
  target_link_options(${target} PRIVATE LINKER:--version-script=${exports} LINKER:--no-undefined LINKER:--as-needed
                      LINKER:--exclude-libs,ALL LINKER:-z,noexecstack)
  if(TARGET kn_flags)
    target_link_libraries(${target} PRIVATE kn_flags)
  endif()
  target_link_libraries(${target} PRIVATE tvm_ffi::shared m)
  if(CMAKE_C_COMPILER_ID STREQUAL "GNU" AND NOT "${KN_SANITIZE}" MATCHES "thread")
    target_compile_options(${target} PRIVATE -fopenmp)
    target_link_options(${target} PRIVATE -fopenmp)
  endif()
  if(arg_DEPENDS)
    add_custom_target(${target}_depends DEPENDS ${arg_DEPENDS})
    add_dependencies(${target} ${target}_depends)
  endif()

  # The variant.
  if(NOT TARGET kernels::cli)
    return()
  endif()
  set(options)
  if(arg_CARD)
    cmake_path(ABSOLUTE_PATH arg_CARD BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} NORMALIZE)
    list(APPEND options --card ${arg_CARD})
  endif()
  if(arg_LICENSE)
    list(APPEND options --license ${arg_LICENSE})
  endif()
  foreach(feature IN LISTS arg_CPU_FEATURES)
    list(APPEND options --cpu-feature ${feature})
  endforeach()
  if(arg_NO_RUN)
    list(APPEND options --no-run)
  endif()
  set(stamp ${CMAKE_CURRENT_BINARY_DIR}/${name}.packed)
  add_custom_command(
    OUTPUT ${stamp}
    COMMAND kernels::cli pack --name ${name} --version ${arg_VERSION} --backend ${arg_BACKEND} --layers ${arg_LAYERS}
            --library $<TARGET_FILE:${target}> --out ${arg_OUTPUT}/${name} ${options}
    COMMAND ${CMAKE_COMMAND} -E touch ${stamp}
    DEPENDS ${target} ${arg_LAYERS} ${arg_CARD} kernels::cli
    COMMENT "Packing ${arg_OUTPUT}/${name}"
    VERBATIM)
  add_custom_target(package_${name} ALL DEPENDS ${stamp})
endfunction()
