// What the verbs say: text for people, JSON for programs, errors; and memory, without which the program ends with a message.
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kernels/base.h>

// "kernels: …" on stderr, one line. Text from outside is made harmless in it.
void cli_fail(const char *format, ...) KN_PRINTF(1, 2);
// The same with the error's text, which is disposed.
void cli_fail_error(const char *verb, kn_error *err);

// To stdout, harmless for a terminal (control characters are replaced): a piece of a line, and a whole line. Neither may hold a
// newline.
void cli_text(const char *format, ...) KN_PRINTF(1, 2);
void cli_line(const char *format, ...) KN_PRINTF(1, 2);

// Colours: "" where stdout is no terminal or NO_COLOR is set.
typedef enum cli_color { CLI_PLAIN, CLI_GOOD, CLI_WARN, CLI_BAD, CLI_BOLD, CLI_FAINT } cli_color;
const char *cli_paint(cli_color color);

// Prints the document with a newline and drops the reference. NULL: jansson had no memory.
void cli_json(json_t *document);
// A string, or null for "" and NULL. Bytes that are not UTF-8 are replaced.
json_t *cli_json_text(const char *text);
// Never NULL.
json_t *cli_json_object(void);
json_t *cli_json_array(void);
void cli_json_set(json_t *object, const char *key, json_t *value);
void cli_json_add(json_t *array, json_t *value);
json_t *cli_json_trace(const kn_trace *trace);

// "12.3 MB"; returns out.
#define CLI_SIZE_TEXT 16
const char *cli_size(uint64_t bytes, char out[CLI_SIZE_TEXT]);

// Flushes stdout: the status, or CLI_TROUBLE with a message when something could not be written.
int cli_finish(int status);

// Memory that is there: without it the program ends with a message. free() it.
void *cli_alloc(size_t size); // zeroed
void *cli_resize(void *memory, size_t size);
char *cli_format(const char *format, ...) KN_PRINTF(1, 2);
_Noreturn void cli_no_memory(void);

#endif
