// What a plan needs to be made again: what was asked for, and the kernels that it binds, each at its revision.
#ifndef KNI_KERNELIZE_PIN_H
#define KNI_KERNELIZE_PIN_H

#include "kernelize/plan.h"

// Copies of a list of strings over what *out has, which is freed. False without memory: *out is empty.
bool kni_filter_set(kni_filter *out, const char *const *items, size_t count);
void kni_filter_dispose(kni_filter *filter);

void kni_asked_dispose(kni_asked *asked);

// Where a kernel comes from, wherever it is read: repo_id, or the absolute path; what a host calls its own.
const char *kni_decision_place(const kni_decision *decision);

// The plan can be made again; else the error says which plans can. Error: KN_ERR_INVALID.
kn_status kni_plan_check_asked(const kn_plan *plan, kn_error *err);

#endif
