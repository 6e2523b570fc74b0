// What was asked once is not asked again: answers by key, good and bad ones. Threads that ask the same at once wait for the one that
// asks.
#ifndef KNI_HUB_MEMO_H
#define KNI_HUB_MEMO_H

#include <stdbool.h>

#include "kernels/base.h"

typedef struct kni_memo kni_memo;

// Finds an answer. On success *answer is the memo's, to be freed with dispose.
typedef kn_status (*kni_memo_make)(void *user, void **answer, kn_error *err);

kni_memo *kni_memo_new(void); // NULL without memory
void kni_memo_free(kni_memo *memo);

// The answer for the key, borrowed until the memo is freed: the one that is remembered, or what make says now. No lock is held while it
// works. Failures are remembered too, but for KN_ERR_CANCELLED and KN_ERR_NO_MEMORY. is_cancelled: asked with the same user while another
// thread is waited for, which ends with KN_ERR_CANCELLED then; NULL: never.
kn_status kni_memo_get(kni_memo *memo, const char *key, kni_memo_make make,
                       bool (*is_cancelled)(void *user), void *user, void (*dispose)(void *answer),
                       const void **answer, kn_error *err);

// The next question for each key is asked anew. Answers that are borrowed stay; keys of kni_memo_first too.
void kni_memo_forget(kni_memo *memo);

// Remembers the key itself. True the first time. False without memory too: what is said once may then not be said.
bool kni_memo_first(kni_memo *memo, const char *key);

#endif
