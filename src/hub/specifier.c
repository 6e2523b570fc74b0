#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/version_parts.h"

typedef enum operation {
    COMPATIBLE,
    ARBITRARY,
    EQUAL,
    NOT_EQUAL,
    AT_MOST,
    AT_LEAST,
    BELOW,
    ABOVE,
} operation;

typedef struct clause {
    operation op;
    bool is_wildcard;
    kni_version *version; // of a wildcard without the ".*"; with === NULL unless its text is one
    char *text;           // with ===: what a version must be, letter for letter
} clause;

struct kni_specifier {
    clause *clauses;
    size_t count;
    size_t capacity;
};

// Longer ones before their beginnings.
static const struct {
    const char *text;
    operation op;
} operators[] = {
    {"===", ARBITRARY}, {"~=", COMPATIBLE}, {"==", EQUAL}, {"!=", NOT_EQUAL},
    {"<=", AT_MOST},    {">=", AT_LEAST},   {"<", BELOW},  {">", ABOVE},
};

static kn_status refuse(kni_span text, const char *why, kn_error *err)
{
    return kn_error_set(err, KN_ERR_INVALID, "version specifier: \"%.*s\": %s",
                        (int)(text.size < 200 ? text.size : 200), text.data, why);
}

// === takes anything but blanks, ';' and ')'.
static bool is_arbitrary(kni_span text)
{
    for (size_t i = 0; i < text.size; ++i)
        if (text.data[i] == ';' || text.data[i] == ')' ||
            kni_blank_at(text.data + i, text.size - i) > 0)
            return false;
    return true;
}

// The rules that go beyond what a version is.
static const char *clause_fault(const clause *c)
{
    if (!c->version)
        return "accepted is a version after the operator, such as \"1.2\" (PEP 440)";
    if (c->is_wildcard && c->op != EQUAL && c->op != NOT_EQUAL)
        return "\".*\" is accepted with == and != alone";
    if (c->is_wildcard && (c->version->pre != KNI_PRE_NONE || c->version->has_post ||
                           c->version->has_dev || c->version->local.size))
        return "\".*\" is accepted after numbers alone, as in \"1.2.*\"";
    if (c->version->local.size && c->op != EQUAL && c->op != NOT_EQUAL)
        return "a local version (\"+…\") is accepted with == and != alone";
    if (c->op == COMPATIBLE && c->version->n_release < 2)
        return "~= is accepted with two numbers or more, as in \"~=1.2\"";
    return NULL;
}

static kn_status parse_clause(kni_span text, clause *out, kn_error *err)
{
    kni_span rest = text;
    size_t i = 0;

    *out = (clause){0};
    while (i < KN_LEN(operators) && !kni_span_starts(text, operators[i].text))
        ++i;
    if (i == KN_LEN(operators))
        return refuse(text, "accepted is one of ~= == != <= >= < > === before each version", err);
    out->op = operators[i].op;
    rest.data += strlen(operators[i].text);
    rest.size -= strlen(operators[i].text);
    rest = kni_blank_trim(rest);
    if (out->op == ARBITRARY) {
        if (!is_arbitrary(rest))
            return refuse(text, "blanks, ';' and ')' are not accepted", err);
        out->text = kni_strndup(rest.data, rest.size);
        if (!out->text)
            return kni_no_memory(err);
        return kni_version_parse_span(rest, &out->version, err);
    }
    // Blanks before ".*" would be none of the version's.
    out->is_wildcard = kni_span_ends(rest, ".*");
    if (out->is_wildcard)
        rest.size -= 2;
    if (out->is_wildcard && kni_blank_trim(rest).size != rest.size)
        return refuse(text, "a blank within", err);
    const kn_status st = kni_version_parse_span(rest, &out->version, err);
    if (st != KN_OK)
        return st;
    const char *fault = clause_fault(out);
    return fault ? refuse(text, fault, err) : KN_OK;
}

static void clause_dispose(clause *c)
{
    kni_version_free(c->version);
    kni_free(c->text);
}

kn_status kni_specifier_parse(const char *text, kni_specifier **out, kn_error *err)
{
    kn_status st = KN_OK;
    kni_span rest = kni_span_of(text ? text : ""), part;
    kni_specifier *specifier = kni_calloc(1, sizeof(*specifier));

    *out = NULL;
    if (!specifier)
        return kni_no_memory(err);
    while (st == KN_OK && kni_span_cut(&rest, ',', &part)) {
        void *clauses = specifier->clauses;
        clause next;
        part = kni_blank_trim(part);
        if (part.size == 0)
            continue;
        st = parse_clause(part, &next, err);
        if (st == KN_OK &&
            !kni_grow(&clauses, &specifier->capacity, specifier->count + 1, sizeof(clause)))
            st = kni_no_memory(err);
        specifier->clauses = clauses;
        if (st == KN_OK)
            specifier->clauses[specifier->count++] = next;
        else
            clause_dispose(&next);
    }
    if (st == KN_OK)
        *out = specifier;
    else
        kni_specifier_free(specifier);
    return st;
}

void kni_specifier_free(kni_specifier *specifier)
{
    if (!specifier)
        return;
    for (size_t i = 0; i < specifier->count; ++i)
        clause_dispose(&specifier->clauses[i]);
    kni_free(specifier->clauses);
    kni_free(specifier);
}

static bool same_text(const char *a, const char *b) // in any case of ASCII's letters
{
    for (; *a && *b; ++a, ++b) {
        const char x = *a >= 'A' && *a <= 'Z' ? (char)(*a + 32) : *a;
        if (x != *b) // b is a normalised version: lower case
            return false;
    }
    return *a == *b;
}

static bool is_equal(const clause *c, const kni_version *version)
{
    if (c->is_wildcard)
        return kni_version_has_prefix(version, c->version, c->version->n_release);
    if (c->version->local.size)
        return kni_version_compare(version, c->version) == 0;
    return kni_version_compare_public(version, c->version) == 0; // 1.0+x is 1.0 to who names none
}

// >1.0 takes no 1.0.post1, and >1.0a1 no 1.0a1.post1; >1.0.post1 takes 1.0.post2.
static bool is_above(const kni_version *version, const kni_version *than)
{
    if (kni_version_compare_public(version, than) <= 0) // nor a local version of it
        return false;
    if (than->has_post || than->has_dev)
        return true;
    return version->pre != than->pre || !kni_version_same_release(version, than) ||
           (than->pre != KNI_PRE_NONE &&
            kni_number_compare(version->pre_number, than->pre_number) != 0);
}

// <1.0 takes no 1.0rc1, but <1.0rc1 takes 1.0a1.
static bool is_below(const kni_version *version, const kni_version *than)
{
    kni_version bound = *than;
    if (!kni_version_is_prerelease(than)) {
        bound.has_dev = true;
        bound.dev = kni_span_of("0");
    }
    return kni_version_compare(version, &bound) < 0;
}

static bool admits(const clause *c, const kni_version *version)
{
    switch (c->op) {
    case COMPATIBLE:
        return kni_version_compare(version, c->version) >= 0 &&
               kni_version_has_prefix(version, c->version, c->version->n_release - 1);
    case ARBITRARY:
        return same_text(c->text, version->text);
    case EQUAL:
        return is_equal(c, version);
    case NOT_EQUAL:
        return !is_equal(c, version);
    case AT_MOST:
        return kni_version_compare_public(version, c->version) <= 0;
    case AT_LEAST:
        return kni_version_compare(version, c->version) >= 0;
    case BELOW:
        return is_below(version, c->version);
    case ABOVE:
        return is_above(version, c->version);
    }
    return false;
}

bool kni_specifier_admits(const kni_specifier *specifier, const kni_version *version)
{
    for (size_t i = 0; i < specifier->count; ++i)
        if (!admits(&specifier->clauses[i], version))
            return false;
    return true;
}

bool kni_specifier_asks_prereleases(const kni_specifier *specifier)
{
    for (size_t i = 0; i < specifier->count; ++i) {
        const clause *c = &specifier->clauses[i];
        if (c->op != NOT_EQUAL && c->version && kni_version_is_prerelease(c->version))
            return true;
    }
    return false;
}

size_t kni_specifier_choose(const kni_specifier *specifier, const kni_version *const *versions,
                            size_t n)
{
    const bool asks = kni_specifier_asks_prereleases(specifier);
    size_t best = n;
    bool best_is_final = false;

    for (size_t i = 0; i < n; ++i) {
        if (!versions[i] || !kni_specifier_admits(specifier, versions[i]))
            continue;
        const bool is_final = asks || !kni_version_is_prerelease(versions[i]);
        if (best == n || is_final > best_is_final ||
            (is_final == best_is_final && kni_version_compare(versions[i], versions[best]) > 0)) {
            best = i;
            best_is_final = is_final;
        }
    }
    return best;
}
