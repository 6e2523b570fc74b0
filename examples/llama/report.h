/** What the program says at its end. */
#ifndef LLAMA_REPORT_H
#define LLAMA_REPORT_H

#include <kernels/plan.h>

#include "generate.h"
#include "options.h"

typedef struct llama_report {
    const llama_options *options;
    const token_list *prompt;
    kn_plan *plan;                // NULL: no kernels were asked for
    const generation *kernels;    // NULL: no run with kernels
    const generation *plain;      // NULL: no run without them, for JSON alone
    logits_difference difference; // of both runs
    uint64_t n_fallback_calls;    // of the run with kernels: calls that a kernel did not take
    size_t weights_bytes;         // as float
} llama_report;

/** A table for people; there was a run without kernels. */
void llama_report_print(const llama_report *report);

/** One JSON document. Error: KN_ERR_NO_MEMORY, KN_ERR_IO. */
kn_status llama_report_json(const llama_report *report, kn_error *err);

#endif
