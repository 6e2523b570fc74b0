// operator new under fail_alloc.h; delete goes with it, in each form that compilers call.
#include <cstdlib>
#include <new>

#include "support/fail_alloc.h"

void *operator new(std::size_t size)
{
    void *memory = fail_alloc_now(FAIL_NEW) ? nullptr : std::malloc(size ? size : 1);
    if (!memory)
        throw std::bad_alloc();
    fail_alloc_count(FAIL_NEW, 1);
    return memory;
}

void *operator new[](std::size_t size)
{
    return operator new(size);
}

void operator delete(void *memory) noexcept
{
    fail_alloc_count(FAIL_NEW, memory ? -1 : 0);
    std::free(memory);
}

void operator delete(void *memory, std::size_t) noexcept
{
    operator delete(memory);
}

void operator delete[](void *memory) noexcept
{
    operator delete(memory);
}

void operator delete[](void *memory, std::size_t) noexcept
{
    operator delete(memory);
}
