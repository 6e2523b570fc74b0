#include "output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "options.h"

static char *format_text(const char *format, va_list args)
{
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0)
        cli_no_memory();
    return text;
}

// An error's text has been through the library's sanitizer.
static kn_error clean(const char *format, va_list args)
{
    kn_error carrier = KN_ERROR_INIT;
    char *text = format_text(format, args);
    kn_error_set(&carrier, KN_ERR_INVALID, "%s", text);
    free(text);
    if (!carrier.text)
        cli_no_memory();
    return carrier;
}

void cli_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    kn_error line = clean(format, args);
    va_end(args);
    fflush(stdout);
    fprintf(stderr, "kernels: %s\n", line.text);
    kn_error_dispose(&line);
}

void cli_fail_error(const char *verb, kn_error *err)
{
    cli_fail("%s: %s", verb, kn_error_text(err));
    kn_error_dispose(err);
}

void cli_text(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    kn_error text = clean(format, args);
    va_end(args);
    fputs(text.text, stdout);
    kn_error_dispose(&text);
}

void cli_line(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    kn_error text = clean(format, args);
    va_end(args);
    puts(text.text);
    kn_error_dispose(&text);
}

const char *cli_paint(cli_color color)
{
    static const char *const codes[] = {
        [CLI_PLAIN] = "\033[0m", [CLI_GOOD] = "\033[32m", [CLI_WARN] = "\033[33m",
        [CLI_BAD] = "\033[31m",  [CLI_BOLD] = "\033[1m",  [CLI_FAINT] = "\033[2m",
    };
    const char *term = getenv("TERM");
    const bool wanted =
        isatty(STDOUT_FILENO) && !getenv("NO_COLOR") && term && strcmp(term, "dumb") != 0;
    return wanted ? codes[color] : "";
}

void cli_json(json_t *document)
{
    // ASCII: nothing in it can tell a terminal to do something.
    char *text = document ? json_dumps(document, JSON_INDENT(2) | JSON_ENSURE_ASCII) : NULL;
    if (!text)
        cli_no_memory();
    puts(text);
    free(text);
    json_decref(document);
}

json_t *cli_json_text(const char *text)
{
    if (!text || !text[0])
        return json_null();
    json_t *value = json_string(text);
    if (value)
        return value;
    kn_error clean_text = KN_ERROR_INIT; // no memory, or no UTF-8
    kn_error_set(&clean_text, KN_ERR_INVALID, "%s", text);
    value = clean_text.text ? json_string(clean_text.text) : NULL;
    kn_error_dispose(&clean_text);
    if (!value)
        cli_no_memory();
    return value;
}

json_t *cli_json_object(void)
{
    json_t *object = json_object();
    if (!object)
        cli_no_memory();
    return object;
}

json_t *cli_json_array(void)
{
    json_t *array = json_array();
    if (!array)
        cli_no_memory();
    return array;
}

void cli_json_set(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) != 0)
        cli_no_memory();
}

void cli_json_add(json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0)
        cli_no_memory();
}

json_t *cli_json_trace(const kn_trace *trace)
{
    json_t *steps = cli_json_array();
    for (size_t i = 0; i < kn_trace_count(trace); ++i) {
        const kn_trace_entry entry = kn_trace_get(trace, i);
        json_t *step = cli_json_object();
        cli_json_set(step, "stage", cli_json_text(entry.stage));
        cli_json_set(step, "subject", cli_json_text(entry.subject));
        cli_json_set(step, "accepted", json_boolean(entry.accepted));
        cli_json_set(step, "rule", cli_json_text(entry.rule));
        cli_json_set(step, "reason", cli_json_text(entry.reason));
        cli_json_set(step, "admits", cli_json_text(entry.admits));
        cli_json_add(steps, step);
    }
    return steps;
}

const char *cli_size(uint64_t bytes, char out[CLI_SIZE_TEXT])
{
    static const char *const units[] = {"kB", "MB", "GB", "TB"};
    double value = (double)bytes / 1000;
    size_t unit = 0;
    if (bytes < 1000) {
        snprintf(out, CLI_SIZE_TEXT, "%u B", (unsigned)bytes);
        return out;
    }
    for (; value >= 999.95 && unit + 1 < KN_LEN(units); ++unit)
        value /= 1000;
    snprintf(out, CLI_SIZE_TEXT, "%.1f %s", value, units[unit]);
    return out;
}

int cli_finish(int status)
{
    errno = 0;
    const bool failed = ferror(stdout) != 0;
    if (fflush(stdout) == 0 && !failed)
        return status;
    fprintf(stderr, "kernels: the output cannot be written: %s\n",
            errno ? strerror(errno) : "an earlier write failed");
    return CLI_TROUBLE;
}

void *cli_alloc(size_t size)
{
    void *memory = calloc(1, size ? size : 1);
    if (!memory)
        cli_no_memory();
    return memory;
}

void *cli_resize(void *memory, size_t size)
{
    void *longer = realloc(memory, size ? size : 1);
    if (!longer)
        cli_no_memory();
    return longer;
}

char *cli_format(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = format_text(format, args);
    va_end(args);
    return text;
}

void cli_no_memory(void)
{
    fputs("kernels: out of memory\n", stderr);
    exit(CLI_TROUBLE);
}
