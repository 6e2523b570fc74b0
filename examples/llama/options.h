/** The command line. */
#ifndef LLAMA_OPTIONS_H
#define LLAMA_OPTIONS_H

#include <kernels/base.h>

typedef struct llama_options {
    const char *model;
    const char *mapping; // NULL: no kernels
    const char *prompt;
    int n_tokens;
    int n_threads;
    bool no_kernels;
    bool brief; // one run, and no figures
    bool raw;
    bool json;
    bool help;
} llama_options;

extern const char llama_usage[];

/** Strings are borrowed from argv. Error: KN_ERR_INVALID. */
kn_status llama_options_parse(int argc, char **argv, llama_options *out, kn_error *err);

#endif
