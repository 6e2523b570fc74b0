#include "stream.h"

#include "support.h"
#include <string.h>

typedef struct collected {
    char text[64];
    size_t size;
} collected;

static void collect(void *user, const char *text, size_t n_bytes)
{
    collected *c = user;
    assert_true(c->size + n_bytes < sizeof(c->text));
    memcpy(c->text + c->size, text, n_bytes);
    c->size += n_bytes;
}

#define BAD "\xEF\xBF\xBD"

// Whatever the cuts between tokens are, the text is the same.
static const struct {
    const char *name, *bytes, *text;
} rows[] = {
    {"ASCII", "abc\n\td", "abc\n\td"},
    {"two, three, four bytes", "\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80",
     "\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80"},
    {"cut short", "a\xE4\xB8", "a" BAD},
    {"cut by another", "\xE4\xB8z", BAD "z"},
    {"no beginning", "\x80z", BAD "z"},
    {"overlong", "\xC0\x80", BAD BAD},
    {"overlong of three", "\xE0\x80\x80", BAD BAD BAD},
    {"surrogate", "\xED\xA0\x80", BAD BAD BAD},
    {"beyond Unicode", "\xF4\x90\x80\x80", BAD BAD BAD BAD},
    {"no byte of UTF-8", "\xFF\xFE", BAD BAD},
    {"escape", "\x1B[31mred\x7F", BAD "[31mred" BAD},
    {"carriage return", "a\rb", "a" BAD "b"},
    {"C1 control",
     "\xC2\x9B"
     "31m\xC2\xA0",
     BAD "31m\xC2\xA0"},
    {"empty", "", ""},
};

static void test_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(rows); ++i) {
        const size_t size = strlen(rows[i].bytes);
        print_message("  %s\n", rows[i].name);
        for (size_t cut = 0; cut <= size; ++cut) {
            collected c = {.size = 0};
            text_stream s = {.sink = collect, .user = &c};
            text_stream_put(&s, rows[i].bytes, cut);
            text_stream_put(&s, rows[i].bytes + cut, size - cut);
            text_stream_end(&s);
            c.text[c.size] = '\0';
            assert_string_equal(c.text, rows[i].text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
