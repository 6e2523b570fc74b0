#include "options.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

static void print_help(const cli_usage *usage)
{
    printf("usage: kernels %s%s%s [options]\n\n%s\n\noptions:\n", usage->verb,
           usage->operand ? " " : "", usage->operand ? usage->operand : "", usage->about);
    for (size_t i = 0; i < usage->n_options; ++i) {
        const cli_option *option = &usage->options[i];
        const int width = printf("  --%s%s%s", option->name, option->value ? " " : "",
                                 option->value ? option->value : "");
        printf("%*s%s\n", width < 26 ? 26 - width : 2, "", option->help);
    }
    printf("  --help                  print this\n");
}

static int refuse(const cli_usage *usage, const char *what, const char *came)
{
    char *accepted = cli_format("--help");
    for (size_t i = 0; i < usage->n_options; ++i) {
        char *longer = cli_format("%s, --%s", accepted, usage->options[i].name);
        free(accepted);
        accepted = longer;
    }
    cli_fail("%s: %s '%s'; accepted: %s%s%s", usage->verb, what, came,
             usage->operand ? usage->operand : "", usage->operand ? ", " : "", accepted);
    free(accepted);
    return CLI_TROUBLE;
}

static const cli_option *find(const cli_usage *usage, const char *name, size_t size)
{
    for (size_t i = 0; i < usage->n_options; ++i)
        if (strlen(usage->options[i].name) == size &&
            memcmp(usage->options[i].name, name, size) == 0)
            return &usage->options[i];
    return NULL;
}

static bool is_set(const cli_option *option)
{
    return (option->flag && *option->flag) || (option->text && *option->text);
}

static void add_text(cli_texts *texts, const char *value)
{
    texts->items = cli_resize(texts->items, (texts->count + 1) * sizeof(*texts->items));
    texts->items[texts->count++] = value;
}

static void set(const cli_option *option, const char *value)
{
    if (option->flag) {
        *option->flag = true;
    } else if (option->text) {
        *option->text = value;
    } else {
        add_text(option->texts, value);
    }
}

// An option at argv[*at], and its value, which may be the next word.
static bool take_option(const cli_usage *usage, int argc, char **argv, int *at, int *status)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    const size_t size = equals ? (size_t)(equals - name) : strlen(name);
    const cli_option *option = find(usage, name, size);
    *status = CLI_TROUBLE;
    if (!option) {
        refuse(usage, "unknown option", argv[*at]);
        return false;
    }
    if (is_set(option))
        cli_fail("%s: --%s is given twice", usage->verb, option->name);
    else if (!option->value && equals)
        cli_fail("%s: --%s takes no value", usage->verb, option->name);
    else if (option->value && !equals && *at + 1 >= argc)
        cli_fail("%s: --%s needs a value: %s", usage->verb, option->name, option->value);
    else
        *status = CLI_YES;
    if (*status != CLI_YES)
        return false;
    set(option, equals ? equals + 1 : option->value ? argv[++*at] : NULL);
    return true;
}

// At most `most` operands are taken.
static bool parse(const cli_usage *usage, int argc, char **argv, size_t most, cli_texts *operands,
                  int *status)
{
    bool only_operands = false;
    for (int i = 0; i < argc; ++i) {
        if (!only_operands && strcmp(argv[i], "--") == 0) {
            only_operands = true;
        } else if (!only_operands &&
                   (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            print_help(usage);
            *status = CLI_YES;
            return false;
        } else if (!only_operands && strncmp(argv[i], "--", 2) == 0) {
            if (!take_option(usage, argc, argv, &i, status))
                return false;
        } else if ((!only_operands && argv[i][0] == '-') || operands->count == most) {
            *status = refuse(usage, argv[i][0] == '-' ? "unknown option" : "unexpected argument",
                             argv[i]);
            return false;
        } else {
            add_text(operands, argv[i]);
        }
    }
    if (usage->operand && usage->operand[0] != '[' && operands->count == 0) {
        cli_fail("%s: %s is missing, see 'kernels %s --help'", usage->verb, usage->operand,
                 usage->verb);
        *status = CLI_TROUBLE;
        return false;
    }
    return true;
}

bool cli_parse(const cli_usage *usage, int argc, char **argv, const char **operand, int *status)
{
    cli_texts operands = {NULL, 0};
    const bool goes_on = parse(usage, argc, argv, usage->operand ? 1 : 0, &operands, status);
    if (operand)
        *operand = operands.count ? operands.items[0] : NULL;
    cli_texts_free(&operands);
    return goes_on;
}

bool cli_parse_many(const cli_usage *usage, int argc, char **argv, cli_texts *operands, int *status)
{
    *operands = (cli_texts){NULL, 0};
    return parse(usage, argc, argv, SIZE_MAX, operands, status);
}

void cli_texts_free(cli_texts *texts)
{
    free(texts->items);
    *texts = (cli_texts){NULL, 0};
}
