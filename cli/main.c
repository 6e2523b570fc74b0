// kernels VERB …
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "output.h"
#include "verbs.h"

static const struct {
    const char *name, *about;
    int (*run)(int argc, char **argv);
} verbs[] = {
#define VERB(name, about) {#name, about, cli_cmd_##name},
    CLI_VERB_LIST(VERB)
#undef VERB
};

// Verbs of the Python package's command line that are none of ours, and what does it instead.
static const struct {
    const char *name, *instead;
} elsewhere[] = {
    {"benchmark",
     "a repository's benchmarks are Python programs: run them with Python, which gets the "
     "kernel by kernels.get_kernel"},
    {"upload", "`hf upload` of huggingface_hub puts a package's build/ into a repository"},
    {"verify-signature",
     "`kernels verify` holds contents against the hub and a lock's sums; signatures are "
     "checked by `sigstore verify`"},
};

static void print_help(void)
{
    printf("usage: kernels VERB [arguments]\n\nverbs:\n");
    for (size_t i = 0; i < KN_LEN(verbs); ++i)
        printf("  %-10s  %s\n", verbs[i].name, verbs[i].about);
    printf("\n  --help      print this; 'kernels VERB --help' is about a verb\n"
           "  --version   print the version\n");
}

static int refuse(const char *came)
{
    char *accepted = cli_format("--help, --version");
    for (size_t i = 0; i < KN_LEN(verbs); ++i) {
        char *longer = cli_format("%s, %s", accepted, verbs[i].name);
        free(accepted);
        accepted = longer;
    }
    cli_fail("%s%s%s; accepted: %s", came ? "unknown verb '" : "a verb is missing",
             came ? came : "", came ? "'" : "", accepted);
    free(accepted);
    return CLI_TROUBLE;
}

static int run(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : NULL;
    if (!verb)
        return refuse(NULL);
    if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) {
        print_help();
        return CLI_YES;
    }
    if (strcmp(verb, "--version") == 0) {
        printf("kernels %s\n", kn_version());
        return CLI_YES;
    }
    for (size_t i = 0; i < KN_LEN(verbs); ++i)
        if (strcmp(verb, verbs[i].name) == 0)
            return verbs[i].run(argc - 2, argv + 2);
    for (size_t i = 0; i < KN_LEN(elsewhere); ++i)
        if (strcmp(verb, elsewhere[i].name) == 0) {
            cli_fail("%s is no verb of this program: %s", verb, elsewhere[i].instead);
            return CLI_TROUBLE;
        }
    return refuse(verb);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); // a reader that went away is an error of writing, with a message
    return cli_finish(run(argc, argv));
}
