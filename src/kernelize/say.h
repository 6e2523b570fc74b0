// What kernelize says in the log.
#ifndef KNI_KERNELIZE_SAY_H
#define KNI_KERNELIZE_SAY_H

#include "kernelize/decide.h"

// Modules of a decision that changed, and all of them.
typedef struct kni_tally {
    size_t changed;
    size_t all;
} kni_tally;

// A line for each kernel and each reason for which modules changed. tallies: one a decision.
void kni_say_decisions(kn_context *ctx, const kn_plan *plan, const kni_tally *tallies);

// One warning when nothing was replaced, not again for the same picture. advice: where a user is sent; NULL: the words for C.
void kni_say_nothing_replaced(kn_context *ctx, const kni_request *request, const kn_plan *plan,
                              const char *advice);

#endif
