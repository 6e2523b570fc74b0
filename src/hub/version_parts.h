// What a version is made of, for the clauses of a specifier.
#ifndef KNI_HUB_VERSION_PARTS_H
#define KNI_HUB_VERSION_PARTS_H

#include "base/str.h"
#include "hub/version.h"

enum { KNI_PRE_ALPHA, KNI_PRE_BETA, KNI_PRE_RC, KNI_PRE_NONE }; // in their order

// Numbers are digits of any length without leading zeros, so none is too large. Spans lie in `text`.
struct kni_version {
    kni_span epoch;
    const kni_span *release; // as written: "1.0" has two
    size_t n_release;        // at least 1
    int pre;
    kni_span pre_number;
    bool has_post;
    kni_span post;
    bool has_dev;
    kni_span dev;
    kni_span local; // normalised: lower case, '.' between; empty: none
    const char *text;
};

// The bytes of a blank at the beginning of a text, as Python's \s has it; 0: there is none.
size_t kni_blank_at(const char *text, size_t size);
kni_span kni_blank_trim(kni_span span);

kn_status kni_version_parse_span(kni_span text, kni_version **out, kn_error *err);

// Of the numbers, and of the public parts alone: without the local one.
int kni_number_compare(kni_span a, kni_span b);
int kni_version_compare_public(const kni_version *a, const kni_version *b);
// The same epoch and release, with zeros behind the shorter one.
bool kni_version_same_release(const kni_version *a, const kni_version *b);
// The same epoch, and `version` has the first n numbers of `prefix`'s release.
bool kni_version_has_prefix(const kni_version *version, const kni_version *prefix, size_t n);

#endif
