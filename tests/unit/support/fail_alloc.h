// Lets each allocation fail in turn: the library's own (by kn_set_allocator), jansson's, and C++'s operator new.
// A program that calls C++ code of others (libtvm_ffi) leaves FAIL_NEW out: what they do without memory is theirs.
#ifndef SUPPORT_FAIL_ALLOC_H
#define SUPPORT_FAIL_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    FAIL_OURS = 1,
    FAIL_JANSSON = 2,
    FAIL_NEW = 4,
    FAIL_ALL = 7,
};

// Counts the allocations of these sources from now on; the nth (from 1; 0: none) fails, with `persist` all after it too.
void fail_alloc_install(unsigned sources, size_t nth, bool persist);
// Restores the allocators of libc. Returns whether an allocation was made to fail.
bool fail_alloc_remove(void);
// Blocks of the watched sources that were allocated since fail_alloc_install and are not freed.
size_t fail_alloc_held(void);

// Runs `run` until no allocation fails any more: with the first failing, then the second, …, and again with all from the nth on.
// Asserts that a run with a failure returns KN_ERR_NO_MEMORY, that the last one succeeds, and that each frees what it took (`run`
// frees its results; err is disposed here). Returns the number of allocations.
typedef kn_status (*fail_alloc_fn)(void *user, kn_error *err);
size_t fail_alloc_each(unsigned sources, fail_alloc_fn run, void *user);

// For operator new.
bool fail_alloc_now(unsigned source);
void fail_alloc_count(unsigned source, int by);

#ifdef __cplusplus
}
#endif
#endif
