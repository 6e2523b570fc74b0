// Versions and version specifiers, as PEP 440 defines them and Python's `packaging` reads them. Pure.
#ifndef KNI_HUB_VERSION_H
#define KNI_HUB_VERSION_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/base.h"

typedef struct kni_version kni_version;

// NULL in *out and KN_OK for text that is no version. Error: KN_ERR_NO_MEMORY.
kn_status kni_version_parse(const char *text, kni_version **out, kn_error *err);
void kni_version_free(kni_version *version);
int kni_version_compare(const kni_version *a,
                        const kni_version *b);              // <0, 0, >0: "1.0" equals "1.0.0"
bool kni_version_is_prerelease(const kni_version *version); // also a development release
const char *
kni_version_text(const kni_version *version); // normalised: "1!1.0rc1.post2.dev3+local.1"

// A comma-separated set: ~= == != <= >= < > ===, wildcards with == and !=; "" accepts every release.
typedef struct kni_specifier kni_specifier;
// Error: KN_ERR_INVALID (the clause, what is accepted), KN_ERR_NO_MEMORY.
kn_status kni_specifier_parse(const char *text, kni_specifier **out, kn_error *err);
void kni_specifier_free(kni_specifier *specifier);
// As SpecifierSet.contains(version, prereleases=True): every clause holds.
bool kni_specifier_admits(const kni_specifier *specifier, const kni_version *version);
// The specifier names a pre-release itself, which admits them (SpecifierSet.prereleases).
bool kni_specifier_asks_prereleases(const kni_specifier *specifier);

// The newest of the versions that the specifier admits, by the rule of SpecifierSet.filter: pre-releases only when it asks for
// them, or when nothing else is admitted. NULL entries are skipped. Returns its index, or n for none. Of equal ones the first.
size_t kni_specifier_choose(const kni_specifier *specifier, const kni_version *const *versions,
                            size_t n);

#endif
