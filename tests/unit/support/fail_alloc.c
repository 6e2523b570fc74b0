#include "support/fail_alloc.h"

#include <jansson.h>

#include "support/cmocka.h"

static struct {
    unsigned sources; // 0: nothing is counted
    bool persist;
    size_t nth;
    size_t made; // atomic, as are the next two
    size_t failed;
    ptrdiff_t held;
} state;

bool fail_alloc_now(unsigned source)
{
    if (!(state.sources & source))
        return false;
    const size_t number = __atomic_add_fetch(&state.made, 1, __ATOMIC_RELAXED);
    const bool fails = state.nth && (state.persist ? number >= state.nth : number == state.nth);
    if (fails)
        __atomic_add_fetch(&state.failed, 1, __ATOMIC_RELAXED);
    return fails;
}

void fail_alloc_count(unsigned source, int by)
{
    if (state.sources & source)
        __atomic_add_fetch(&state.held, by, __ATOMIC_RELAXED);
}

static void *make(unsigned source, size_t size)
{
    void *memory = fail_alloc_now(source) ? NULL : malloc(size);
    fail_alloc_count(source, memory != NULL);
    return memory;
}

static void drop(unsigned source, void *memory)
{
    fail_alloc_count(source, memory ? -1 : 0);
    free(memory);
}

static void *ours_alloc(size_t size, void *user)
{
    (void)user;
    return make(FAIL_OURS, size);
}

static void *ours_resize(void *memory, size_t size, void *user)
{
    (void)user;
    if (!memory)
        return make(FAIL_OURS, size);
    return fail_alloc_now(FAIL_OURS) ? NULL : realloc(memory, size);
}

static void ours_release(void *memory, void *user)
{
    (void)user;
    drop(FAIL_OURS, memory);
}

static void *jansson_alloc(size_t size)
{
    return make(FAIL_JANSSON, size);
}

static void jansson_release(void *memory)
{
    drop(FAIL_JANSSON, memory);
}

void fail_alloc_install(unsigned sources, size_t nth, bool persist)
{
    const kn_allocator ours = {ours_alloc, ours_resize, ours_release, NULL};
    state.sources = sources;
    state.nth = nth;
    state.persist = persist;
    state.made = state.failed = 0;
    state.held = 0;
    if (sources & FAIL_OURS)
        assert_int_equal(kn_set_allocator(&ours), KN_OK);
    if (sources & FAIL_JANSSON)
        json_set_alloc_funcs(jansson_alloc, jansson_release);
}

bool fail_alloc_remove(void)
{
    state.sources = 0;
    kn_set_allocator(NULL);
    json_set_alloc_funcs(malloc, free);
    return state.failed > 0;
}

size_t fail_alloc_held(void)
{
    return (size_t)state.held;
}

// One run; returns whether an allocation failed in it.
static bool run_once(unsigned sources, size_t nth, bool persist, fail_alloc_fn run, void *user)
{
    kn_error err = KN_ERROR_INIT;
    fail_alloc_install(sources, nth, persist);
    const kn_status st = run(user, &err);
    const kn_status recorded = err.status;
    kn_error_dispose(&err);
    const size_t held = fail_alloc_held();
    const bool failed = fail_alloc_remove();
    if (st != (failed ? KN_ERR_NO_MEMORY : KN_OK) || recorded != st || held != 0)
        fail_msg("allocation %zu%s: returned \"%s\", recorded \"%s\", %zd blocks are held", nth,
                 persist ? " and all after it" : "", kn_status_text(st), kn_status_text(recorded),
                 (ssize_t)held);
    return failed;
}

size_t fail_alloc_each(unsigned sources, fail_alloc_fn run, void *user)
{
    size_t nth = 1;
    while (run_once(sources, nth, false, run, user)) {
        run_once(sources, nth, true, run, user);
        ++nth;
    }
    return nth - 1;
}
