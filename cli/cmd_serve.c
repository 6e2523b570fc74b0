// kernels serve DIR…: hands over to kernels-serve, the program beside this one.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "options.h"
#include "output.h"
#include "verbs.h"

#define PROGRAM "kernels-serve"

int cli_cmd_serve(int argc, char **argv)
{
    char own[4096];
    char **words = cli_alloc(((size_t)argc + 2) * sizeof(*words));
    char name[] = PROGRAM;
    words[0] = name;
    for (int i = 0; i < argc; ++i)
        words[i + 1] = argv[i];
    const ssize_t size = readlink("/proc/self/exe", own, sizeof(own) - 1);
    char *slash = size > 0 ? memrchr(own, '/', (size_t)size) : NULL;
    if (slash) {
        *slash = '\0';
        char *beside = cli_format("%s/%s", own, PROGRAM);
        execv(beside, words);
        free(beside);
    }
    execvp(PROGRAM, words);
    cli_fail("serve: %s cannot be run: %s; expected it beside this program or in PATH", PROGRAM,
             strerror(errno));
    free(words);
    return CLI_TROUBLE;
}
