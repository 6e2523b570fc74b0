// The command line of a verb: a table of options, from which it is parsed and its help is printed.
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

// Exit statuses. The verbs' help says what 0 and 1 mean for them.
enum {
    CLI_YES = 0,
    CLI_NO = 1,
    CLI_TROUBLE = 2, // wrong use, or no answer: unreadable input, output that cannot be written
    CLI_ERRORS = 3,  // explain: some record is an error
};

// Values of an option that may be repeated, in order; borrowed from argv.
typedef struct cli_texts {
    const char **items;
    size_t count;
} cli_texts;

// One option. Exactly one of the three places for its value is set.
typedef struct cli_option {
    const char *name;  // "device", given as --device
    const char *value; // what stands for its value in the help; NULL: a flag
    const char *help;
    bool *flag;
    const char **text; // may be given once
    cli_texts *texts;  // may be repeated; its items are freed with cli_texts_free
} cli_option;

typedef struct cli_usage {
    const char *verb;
    const char *operand; // "DIR"; "[DIR]": may be absent; NULL: the verb takes none
    const char *about;   // what it does, and its exit statuses
    const cli_option *options;
    size_t n_options;
} cli_usage;

// Parses what follows the verb. False: the verb is to end with *status (help was printed, or an error).
bool cli_parse(const cli_usage *usage, int argc, char **argv, const char **operand, int *status);

// The same for a verb that takes one operand or more; they are freed with cli_texts_free.
bool cli_parse_many(const cli_usage *usage, int argc, char **argv, cli_texts *operands,
                    int *status);

void cli_texts_free(cli_texts *texts);

#endif
