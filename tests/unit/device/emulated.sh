#!/bin/sh
# emulated.sh SOURCE BUILD: compiles the probe for 64-bit Arm and x86-64 and runs it on the CPUs that qemu emulates. Exit code 77
# when nothing could be run; what is skipped is named.
set -eu
source=$1 build=$2
cd "$source"
sources="src/device/*.c src/base/alloc.c src/base/buf.c src/base/error.c src/base/status.c src/base/str.c
    tests/unit/device/describe_machine.c"
ran=0 failed=0

# build_for ARCH COMPILER QEMU: true when both are here
build_for() {
    for tool in "$2" "$3"; do
        if ! command -v "$tool" >/dev/null; then
            echo "skipped: $1 (no $tool)"
            return 1
        fi
    done
    # shellcheck disable=SC2086 # the list is one of words
    "$2" -std=c11 -D_GNU_SOURCE -DKN_VERSION_STRING='"0"' -O1 -Wall -Wextra -Wconversion -Wshadow -Werror -Iinclude -Isrc \
        $sources -o "$build/describe_machine_$1" -ldl -lpthread
}

# on QEMU ARCH CPU LEVEL FEATURE…: the level is right, and the features with "!" before them are missing, the others there
on() {
    qemu=$1 arch=$2 cpu=$3 level=$4
    shift 4
    # x86-64: what qemu itself cannot emulate of a CPU it says on its error output.
    text=$($qemu -cpu "$cpu" "$build/describe_machine_$arch" cpu 2>/dev/null) || { echo "$cpu: failed"; failed=1; return; }
    ran=1
    echo "$cpu: $(echo "$text" | grep '^cpu:0')"
    echo "$text" | grep -q "^arch $arch os linux glibc 2\\.[0-9]" || { echo "$cpu: no line for $arch"; failed=1; }
    echo "$text" | grep -q "^cpu:0 capability [0-9]* arch \"$level\" " || { echo "$cpu: expected $level"; failed=1; }
    for feature in "$@"; do
        case $feature in
        !*) ! echo "$text" | grep -q "^features.* ${feature#!}\\( \\|\$\\)" || { echo "$cpu: has $feature"; failed=1; } ;;
        *) echo "$text" | grep -q "^features.* $feature\\( \\|\$\\)" || { echo "$cpu: lacks $feature"; failed=1; } ;;
        esac
    done
}

if build_for aarch64 aarch64-linux-gnu-gcc qemu-aarch64; then
    qemu="qemu-aarch64 -L /usr/aarch64-linux-gnu"
    on "$qemu" aarch64 cortex-a53 armv8.0 asimd crc32 '!atomics' '!asimdhp' '!sve'
    on "$qemu" aarch64 cortex-a76 armv8.2 atomics asimdhp asimddp '!fcma' '!sve'
    on "$qemu" aarch64 neoverse-n1 armv8.2 atomics asimdhp asimddp '!bf16'
    on "$qemu" aarch64 a64fx armv8.2 sve fcma '!asimddp' '!sve2'
fi
if [ "$(uname -m)" = x86_64 ] && build_for x86_64 cc qemu-x86_64; then
    on qemu-x86_64 x86_64 core2duo x86-64-v1 ssse3 '!sse4_1' '!avx'
    on qemu-x86_64 x86_64 Nehalem x86-64-v2 sse4_2 popcnt '!avx'
    on qemu-x86_64 x86_64 SandyBridge x86-64-v2 avx '!avx2'
    on qemu-x86_64 x86_64 Haswell-noTSX x86-64-v3 avx2 fma '!avx512f'
    on qemu-x86_64 x86_64 Haswell-noTSX,-xsave x86-64-v2 sse4_2 bmi2 '!avx' '!avx2' '!fma'
fi
[ $ran = 1 ] || exit 77
exit $failed
