# Flags of our own code, as two interface targets: kn_flags (everything we compile) and kn_sanitize (what may be
# instrumented: all but the kernel packages, which are loaded under the rules for foreign code and may need no
# sanitizer run-time library).

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

find_program(KN_CCACHE ccache)
if(KN_CCACHE AND NOT CMAKE_C_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${KN_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${KN_CCACHE})
endif()

add_library(kn_flags INTERFACE)
target_compile_definitions(kn_flags INTERFACE _GNU_SOURCE)
target_compile_options(kn_flags INTERFACE -Wall -Wextra -Wconversion -Wshadow -ffile-prefix-map=${PROJECT_SOURCE_DIR}/=
                       $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes> $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>
                       $<$<BOOL:${KN_WERROR}>:-Werror>)

add_library(kn_sanitize INTERFACE)
if(KN_SANITIZE)
  target_compile_options(kn_sanitize INTERFACE -fsanitize=${KN_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  target_link_options(kn_sanitize INTERFACE -fsanitize=${KN_SANITIZE})
endif()
if(KN_FUZZ)
  target_compile_options(kn_sanitize INTERFACE -fsanitize=fuzzer-no-link) # the fuzzer sees which way our code goes
endif()
