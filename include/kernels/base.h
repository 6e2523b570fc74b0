/**
 * Status codes, errors, traces, log levels: what every other header of libkernels speaks in.
 *
 * Names: kn_ functions and types, KN_ macros and values. Handles are opaque. A struct of options begins with its own size,
 * which its macro sets (C) or its _INIT form (C and C++); zero in a field means the default.
 */
#ifndef KERNELS_BASE_H
#define KERNELS_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KN_VERSION_MAJOR 0
#define KN_VERSION_MINOR 1
#define KN_VERSION_PATCH 0

#if defined(KN_BUILDING)
#define KN_API __attribute__((visibility("default")))
#else
#define KN_API
#endif

#if defined(__GNUC__)
#define KN_PRINTF(index, first) __attribute__((format(printf, index, first)))
#else
#define KN_PRINTF(index, first)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** Number of elements of an array. */
#define KN_LEN(array) (sizeof(array) / sizeof((array)[0]))

/**
 * What a function that can fail returns. 0 is success; values are never reused.
 *
 *   X(name, value, text)
 */
#define KN_STATUS_LIST(X)                                                                          \
    X(KN_OK, 0, "success")                                                                         \
    X(KN_ERR_INVALID, 1, "invalid argument")                                                       \
    X(KN_ERR_NO_MEMORY, 2, "out of memory")                                                        \
    X(KN_ERR_IO, 3, "input or output failed")                                                      \
    X(KN_ERR_NOT_FOUND, 4, "not found")                                                            \
    X(KN_ERR_FORMAT, 5, "malformed input")                                                         \
    X(KN_ERR_UNSUPPORTED, 6, "not supported")                                                      \
    X(KN_ERR_INCOMPATIBLE, 7, "cannot run on this machine")                                        \
    X(KN_ERR_UNTRUSTED, 8, "refused by a trust rule")                                              \
    X(KN_ERR_LOAD, 9, "could not be loaded")                                                       \
    X(KN_ERR_LAYER, 10, "kernel layer does not suit the class")                                    \
    X(KN_ERR_NO_KERNEL, 11, "no kernel for a layer")                                               \
    X(KN_ERR_ARGUMENTS, 12, "arguments do not fit the signature")                                  \
    X(KN_ERR_CALL, 13, "call failed")                                                              \
    X(KN_ERR_CONFLICT, 14, "changed by somebody else")                                             \
    X(KN_ERR_NETWORK, 15, "the network or the hub failed")                                         \
    X(KN_ERR_DENIED, 16, "the hub denied access")                                                  \
    X(KN_ERR_CANCELLED, 17, "cancelled")

typedef enum kn_status {
#define KN_STATUS_ENUM(name, value, text) name = value,
    KN_STATUS_LIST(KN_STATUS_ENUM)
#undef KN_STATUS_ENUM
} kn_status;

/** A few words for a status, never NULL. Threads: any. */
KN_API const char *kn_status_text(kn_status status);

/** The version of the library that runs, "0.1.0". Threads: any. */
KN_API const char *kn_version(void);

/**
 * What went wrong, held by the caller: start with KN_ERROR_INIT, dispose once.
 *
 * Written only on failure. The first error wins: a function that gets an error which already holds one leaves it alone.
 * Every function takes NULL where nobody wants the text.
 * Threads: one at a time per object.
 */
typedef struct kn_error {
    kn_status status;
    uint32_t reserved;
    char *text; // one line, owned; NULL: none, or no memory for it
} kn_error;

#ifdef __cplusplus
#define KN_ERROR_INIT (kn_error{KN_OK, 0, nullptr})
#else
#define KN_ERROR_INIT ((kn_error){KN_OK, 0, NULL})
#endif

/** The text, or that of the status where there was no memory for one; never NULL, valid until the error changes. */
KN_API const char *kn_error_text(const kn_error *err);

/**
 * Records a failure, for callbacks and own forwards. Returns the status, so that a function may `return kn_error_set(…)`.
 * Does nothing but return when err is NULL or already holds an error. Control characters in the text are replaced.
 */
KN_API kn_status kn_error_set(kn_error *err, kn_status status, const char *format, ...)
    KN_PRINTF(3, 4);

/** Puts text and ": " before what the error says: where it happened. Does nothing on an empty error. */
KN_API void kn_error_prefix(kn_error *err, const char *format, ...) KN_PRINTF(2, 3);

/** Frees the text and makes the error empty again. NULL is fine. */
KN_API void kn_error_dispose(kn_error *err);

/** How much a message matters. */
typedef enum kn_log_level {
    KN_LOG_DEBUG = 0,
    KN_LOG_INFO = 1,
    KN_LOG_WARNING = 2,
} kn_log_level;

/**
 * Receives log lines: one line each, sanitized, without a newline. Called without any lock held, on the thread that works.
 */
typedef void (*kn_log_fn)(void *user, kn_log_level level, const char *text);

/**
 * The allocator of the library's own memory. Process-wide: set before anything else of the library is called, or never.
 * All three are required; they have the semantics of malloc, realloc and free. Threads: before all others.
 */
typedef struct kn_allocator {
    void *(*alloc)(size_t size, void *user);
    void *(*resize)(void *memory, size_t size, void *user);
    void (*release)(void *memory, void *user);
    void *user;
} kn_allocator;

/** NULL restores the C library's. Error: KN_ERR_INVALID (an entry is missing). */
KN_API kn_status kn_set_allocator(const kn_allocator *allocator);

/** Frees a string that the library returned as the caller's. NULL is fine. */
KN_API void kn_string_free(char *text);

/**
 * What a search looked at: one entry for each candidate and rule, in the order they were asked. Error text, command line and
 * tests read the same entries.
 * Threads: one at a time per object.
 */
typedef struct kn_trace kn_trace;

/** One step of a search. Strings are borrowed until the trace changes or is freed; never NULL. */
typedef struct kn_trace_entry {
    const char *stage;   // "mapping", "mode", "variant", "code", "layer", …: the part of the walk
    const char *subject; // the candidate: "tvm-ffi01-cpu-x86_64-linux"
    const char
        *rule; // the rule that decided, one word: "os", "capability"; "" when accepted without one
    const char *reason; // a sentence: "needs CUDA 12.9, this machine has 12.8"
    const char *
        admits; // what would admit it: "a driver for CUDA 12.9 or newer"; "" when accepted or nothing would
    bool accepted;
    uint8_t reserved[7];
} kn_trace_entry;

/** An empty trace; NULL without memory. A NULL trace is accepted wherever one is taken. */
KN_API kn_trace *kn_trace_new(void);
KN_API void kn_trace_free(kn_trace *trace);
KN_API size_t kn_trace_count(const kn_trace *trace);
/** The entry at index; all strings "" when index is not below the count. */
KN_API kn_trace_entry kn_trace_get(const kn_trace *trace, size_t index);
/** All entries, one a line; borrowed until the trace changes or is freed; "" for none. */
KN_API const char *kn_trace_text(kn_trace *trace);

#ifdef __cplusplus
}
#endif
#endif
