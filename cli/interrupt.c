#include "interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>

#include <kernels/base.h>

static const int signals[] = {SIGINT, SIGTERM};
static volatile sig_atomic_t noted; // a handler can reach nothing else

static void note(int number)
{
    noted = number;
}

void cli_interrupt_catch(void)
{
    for (size_t i = 0; i < KN_LEN(signals); ++i) {
        struct sigaction before,
            action = {.sa_handler = note, .sa_flags = SA_RESTART | (int)SA_RESETHAND};
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
            sigaction(signals[i], &action, NULL);
    }
}

bool cli_is_interrupted(void)
{
    return noted != 0;
}

void cli_interrupt_pass_on(void)
{
    if (!noted)
        return;
    fflush(NULL);
    signal(noted, SIG_DFL);
    raise(noted);
}
