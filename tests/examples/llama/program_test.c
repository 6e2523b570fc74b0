// The program as a user runs it: exit status, what it prints, what it says of broken files.
#include "support.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OUTPUT_MAX = 1 << 20 };

// Standard output and error together, to free, and the exit status.
static char *run_program(const char *arguments, int *status)
{
    char command[8192];
    char *output = calloc(1, OUTPUT_MAX);
    assert_non_null(output);
    snprintf(command, sizeof(command), "%s %s 2>&1", LLAMA_TEST_PROGRAM, arguments);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    (void)!fread(output, 1, OUTPUT_MAX - 1, pipe);
    const int wait = pclose(pipe);
    assert_true(WIFEXITED(wait));
    *status = WEXITSTATUS(wait);
    return output;
}

static const struct {
    const char *arguments;
    int status;
    const char *part;
} uses[] = {
    {"--help", 0, "usage: llama MODEL.gguf"},
    {"", 2, "0 model files were named"},
    {"a b", 2, "2 model files were named"},
    {"a --other", 2, "unknown option --other"},
    {"a -o", 2, "unknown option -o"},
    {"a --json=1", 2, "no value is accepted in --json=1"},
    {"a --brief=1", 2, "no value is accepted in --brief=1"},
    {"a --tokens", 2, "--tokens needs a value"},
    {"a --tokens 0", 2, "--tokens: '0', accepted are 1 to"},
    {"a --tokens 7x", 2, "--tokens: '7x'"},
    {"a --threads -1", 2, "--threads: '-1'"},
    {"a --threads 99999999999999999999", 2, "--threads: '99999999999999999999'"},
    {"a --prompt ''", 2, "--prompt: an empty text"},
    {"/nonexistent.gguf", 1, "llama: /nonexistent.gguf: cannot open: No such file"},
    {"/tmp", 1, "llama: /tmp: not a regular file"},
    {LLAMA_TEST_MODEL " --prompt $(printf 'a\\377')", 1, "--prompt: text is not UTF-8 at byte"},
    {LLAMA_TEST_MODEL " --tokens 9000", 1, "the model was made for 1 to 8192"},
    {LLAMA_TEST_MODEL " --mapping /nonexistent.toml", 1, "/nonexistent.toml"},
};

// The bar of the example: 1.3 times the weights as floats.
static void assert_peak(const json_t *document)
{
#if defined(__SANITIZE_THREAD__)
    (void)document;
    print_message("  peak memory: skipped, ThreadSanitizer keeps shadows of it\n");
#else
    assert_true(json_number_value(json_object_get(document, "peak_bytes")) <=
                1.3 * json_number_value(json_object_get(document, "weights_bytes")));
#endif
}

static void test_uses(void **state)
{
    (void)state;
    for (size_t i = 0; i < KN_LEN(uses); ++i) {
        int status;
        print_message("  %s\n", uses[i].arguments);
        char *output = run_program(uses[i].arguments, &status);
        if (status != uses[i].status || !strstr(output, uses[i].part))
            fail_msg("status %d, wanted %d: %s", status, uses[i].status, output);
        free(output);
    }
}

// A real file, cut at several places.
static void test_truncated(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 3, 100, 100000, 1785664, 2000000, 30000000};
    char path[] = "/tmp/llama_program_XXXXXX", arguments[64];
    const int fd = mkstemp(path);
    FILE *model = fopen(LLAMA_TEST_MODEL, "rb"), *out;
    const size_t most = sizes[KN_LEN(sizes) - 1];
    char *bytes = malloc(most);
    assert_true(fd >= 0);
    assert_non_null(model);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, most, model), most);
    fclose(model);
    close(fd);
    for (size_t i = 0; i < KN_LEN(sizes); ++i) {
        int status;
        out = fopen(path, "wb");
        assert_non_null(out);
        assert_int_equal(fwrite(bytes, 1, sizes[i], out), sizes[i]);
        assert_int_equal(fclose(out), 0);
        snprintf(arguments, sizeof(arguments), "%s --tokens 1", path);
        char *output = run_program(arguments, &status);
        print_message("  %s", output);
        assert_int_equal(status, 1);
        assert_non_null(strstr(output, path));
        assert_non_null(strstr(output, "truncated"));
        assert_ptr_equal(strchr(output, '\n'), output + strlen(output) - 1); // one line
        free(output);
    }
    unlink(path);
    free(bytes);
}

// Text for people, and the same run as JSON; memory stays near that of the weights.
static void test_generates(void **state)
{
    (void)state;
    int status;
    char *text = run_program(LLAMA_TEST_MODEL " --no-kernels --tokens 6", &status);
    assert_int_equal(status, 0);
    assert_non_null(strstr(text, "Without kernels:\nThe sky blue is"));
    assert_non_null(strstr(text, "tokens/s"));
    free(text);

    char *dump =
        run_program(LLAMA_TEST_MODEL " --json --raw --prompt '2 + 2 =' --tokens 5", &status);
    assert_int_equal(status, 0);
    json_error_t error;
    json_t *document = json_loads(dump, 0, &error);
    if (!document)
        fail_msg("%s: %s", error.text, dump);
    const json_t *run = json_array_get(json_object_get(document, "runs"), 0);
    assert_int_equal(json_array_size(json_object_get(document, "runs")), 1);
    assert_int_equal(json_array_size(json_object_get(run, "tokens")), 5);
    assert_true(json_is_null(json_object_get(document, "plan")));
    assert_true(json_is_null(json_object_get(document, "logits_difference")));
    assert_true(json_number_value(json_object_get(run, "tokens_per_second")) > 0);
    assert_peak(document);
    json_decref(document);
    free(dump);
}

// With the mapping file and the packages of this build: both runs say the same, no call falls back.
static void test_kernels(void **state)
{
    (void)state;
    static const char arguments[] =
        LLAMA_TEST_MODEL " --mapping " LLAMA_TEST_PACKAGES "/llama.toml --tokens 12";
    char command[sizeof(arguments) + 32];
    int status;
    char *text = run_program(arguments, &status);
    assert_int_equal(status, 0);
    assert_non_null(strstr(text, "121 extensible modules for INFERENCE: 121 with a kernel"));
    assert_non_null(strstr(text, "the same tokens"));
    free(text);

    snprintf(command, sizeof(command), "%s --json", arguments);
    char *dump = run_program(command, &status);
    assert_int_equal(status, 0);
    json_t *document = json_loads(dump, 0, NULL);
    assert_non_null(document);
    json_t *runs = json_object_get(document, "runs");
    const json_t *difference = json_object_get(document, "logits_difference");
    assert_true(json_is_object(json_object_get(document, "plan")));
    assert_int_equal(json_array_size(runs), 2);
    assert_true(json_is_true(json_object_get(json_array_get(runs, 0), "kernels")));
    assert_true(json_is_false(json_object_get(json_array_get(runs, 1), "kernels")));
    assert_true(json_equal(json_object_get(json_array_get(runs, 0), "tokens"),
                           json_object_get(json_array_get(runs, 1), "tokens")));
    assert_true(json_number_value(json_object_get(difference, "max_abs")) <= 1e-3);
    assert_int_equal(json_integer_value(json_object_get(difference, "steps")), 12);
    assert_int_equal(json_integer_value(json_object_get(document, "fallback_calls")), 0);
    assert_peak(document);
    json_decref(document);
    free(dump);

    snprintf(command, sizeof(command), "%s --json --brief", arguments);
    dump = run_program(command, &status);
    assert_int_equal(status, 0);
    json_t *brief = json_loads(dump, 0, NULL);
    assert_non_null(brief);
    runs = json_object_get(brief, "runs");
    assert_int_equal(json_array_size(runs), 1);
    assert_true(json_is_true(json_object_get(json_array_get(runs, 0), "kernels")));
    assert_true(json_is_null(json_object_get(brief, "logits_difference")));
    json_decref(brief);
    free(dump);
}

// Without figures: the plan, the text, and nothing after it.
static void test_brief(void **state)
{
    (void)state;
    int status;
    char *text = run_program(LLAMA_TEST_MODEL " --mapping " LLAMA_TEST_PACKAGES
                                              "/llama.toml --brief --tokens 6",
                             &status);
    assert_int_equal(status, 0);
    assert_non_null(strstr(text, "121 extensible modules for INFERENCE: 121 with a kernel"));
    const char *said = strstr(text, "With kernels:\n");
    assert_non_null(said);
    assert_string_equal(said, "With kernels:\nThe sky blue is a result\n\n");
    free(text);
}

// "kernels": only the runs with the packages of this build, which are made when there is the command line program.
int main(int argc, char **argv)
{
    const struct CMUnitTest plain[] = {
        cmocka_unit_test(test_uses),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_generates),
    };
    const struct CMUnitTest kernels[] = {cmocka_unit_test(test_kernels),
                                         cmocka_unit_test(test_brief)};
    return argc > 1 && strcmp(argv[1], "kernels") == 0 ? cmocka_run_group_tests(kernels, NULL, NULL)
                                                       : cmocka_run_group_tests(plain, NULL, NULL);
}
