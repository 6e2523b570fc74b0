// What the library says of versions and specifiers, for versions_differential.py: reads cases from stdin until its end, writes an
// answer for each. Everything may be in a version but the separators of this protocol: \1 after the specifier, \2 between versions,
// \0 after a case.
//
// Answer: "!" for no specifier, else "P" (it asks for pre-releases) or "F"; the versions it admits ('1', '0'; '-': no version); the
// chosen one's index or -1; the order of each pair ('<', '=', '>'; '-'); the normalised versions with \2 between; fields end in \1.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub/version.h"

#define VERSIONS_MAX 64

static void must(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "versions_oracle: %s\n", what);
        exit(2);
    }
}

static void print_pairs(kni_version *const *versions, size_t n)
{
    for (size_t i = 0; i < n; ++i) {
        for (size_t k = i + 1; k < n; ++k) {
            char sign = '-';
            if (versions[i] && versions[k]) {
                const int order = kni_version_compare(versions[i], versions[k]);
                const int back = kni_version_compare(versions[k], versions[i]);
                must((order < 0) == (back > 0) && (order == 0) == (back == 0), "no order");
                sign = order < 0 ? '<' : order > 0 ? '>' : '=';
            }
            putchar(sign);
        }
    }
    putchar(1);
}

static void answer(const char *text, kni_version *const *versions, size_t n)
{
    kni_specifier *specifier = NULL;
    const kn_status st = kni_specifier_parse(text, &specifier, NULL);

    must(st == KN_OK || st == KN_ERR_INVALID, "the status of a specifier");
    must((st == KN_OK) == (specifier != NULL), "a specifier that is none");
    putchar(!specifier ? '!' : kni_specifier_asks_prereleases(specifier) ? 'P' : 'F');
    putchar(1);
    for (size_t i = 0; i < n; ++i)
        putchar(!versions[i]                                   ? '-'
                : !specifier                                   ? '0'
                : kni_specifier_admits(specifier, versions[i]) ? '1'
                                                               : '0');
    const size_t chosen =
        specifier ? kni_specifier_choose(specifier, (const kni_version *const *)versions, n) : n;
    printf("\1%d\1", chosen == n ? -1 : (int)chosen);
    print_pairs(versions, n);
    for (size_t i = 0; i < n; ++i)
        printf("%s%s", i ? "\2" : "", versions[i] ? kni_version_text(versions[i]) : "-");
    putchar(0);
    kni_specifier_free(specifier);
}

int main(void)
{
    char *line = NULL;
    size_t capacity = 0;

    while (getdelim(&line, &capacity, '\0', stdin) > 0) {
        kni_version *versions[VERSIONS_MAX];
        size_t n = 0;
        char *rest = strchr(line, 1);
        must(rest != NULL, "a case without versions");
        *rest++ = '\0';
        for (char *text = strsep(&rest, "\2"); text; text = strsep(&rest, "\2")) {
            must(n < VERSIONS_MAX, "too many versions");
            must(kni_version_parse(text, &versions[n++], NULL) == KN_OK, "no memory");
        }
        answer(line, versions, n);
        for (size_t i = 0; i < n; ++i)
            kni_version_free(versions[i]);
    }
    free(line);
    must(fflush(stdout) == 0, "cannot write");
    return 0;
}
