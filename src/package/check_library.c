#include <string.h>

#include "base/error.h"
#include "package/check.h"
#include "package/elf_check.h"

// What a hosted package is told for and not refused, as entries of the trace.
static kn_status tell_notes(const kni_check *check, size_t from)
{
    const kni_names *notes = &check->checked->notes;
    kn_status st = KN_OK;
    for (size_t i = from; st == KN_OK && i < notes->count; ++i)
        st = kni_check_pass(check, KNI_STAGE_CODE, "needs", "%s", notes->names[i]);
    return st;
}

static kn_status check_needs(const kni_check *check, const kni_elf *elf, const char *name)
{
    const bool is_hosted = check->checked->is_hosted;
    kni_names *notes = is_hosted ? &check->checked->notes : NULL;
    const size_t n_before = check->checked->notes.count;
    kn_error why = KN_ERROR_INIT;
    if (kni_elf_check_needs(elf, name, notes, &why) != KN_OK)
        return kni_check_refuse_because(check, &why, KNI_STAGE_CODE, "needs", NULL);
    // The dynamic linker would hand this library to whoever needs one of that name later.
    if (elf->soname && kni_elf_may_need(elf->soname, is_hosted))
        return kni_check_refuse(
            check, KN_ERR_UNTRUSTED, KNI_STAGE_CODE, "soname", "a name of its own, or none",
            "the library calls itself '%s', as one of the system does", elf->soname);
    if (check->checked->notes.count > n_before)
        return tell_notes(check, n_before);
    return kni_check_pass(check, KNI_STAGE_CODE, "needs", "needs %zu libraries, all accepted",
                          elf->n_needed);
}

static kn_status check_machine(const kni_check *check, const kni_elf *elf, const char *name)
{
    kn_machine *machine = check->target->machine;
    const char *arch = kn_machine_cpu_arch(machine);
    int32_t major = -1, minor = -1;
    kn_error why = KN_ERROR_INIT;
    kn_machine_glibc(machine, &major, &minor);
    if (major < 0 && elf->glibc.major)
        return kni_check_refuse(check, KN_ERR_INCOMPATIBLE, KNI_STAGE_CODE, "machine",
                                "the GNU C library",
                                "the library needs glibc %u.%u, and this "
                                "process has another C library",
                                elf->glibc.major, elf->glibc.minor);
    const kni_elf_version glibc = {major > 0 ? (uint32_t)major : 0, (uint32_t)minor, 0};
    if (kni_elf_check_runs(elf, name, arch, glibc, &why) != KN_OK)
        return kni_check_refuse_because(check, &why, KNI_STAGE_CODE, "machine", NULL);
    return kni_check_pass(check, KNI_STAGE_CODE, "machine", "for %s, needs glibc %u.%u", arch,
                          elf->glibc.major, elf->glibc.minor);
}

static kn_status check_layer_function(const kni_check *check, const kni_elf *elf,
                                      const kni_metadata_layer *layer, bool backward)
{
    const char *name = kn_layer_function(layer->layer, backward);
    for (size_t i = 0; name && i < elf->n_functions; ++i)
        if (strcmp(elf->functions[i], name) == 0)
            return KN_OK;
    if (!name)
        return KN_OK;
    return kni_check_refuse(check, KN_ERR_INCOMPATIBLE, KNI_STAGE_CODE, "exports",
                            "a library that exports every function of its layers",
                            "the layer %s calls the function '%s', which the library does not "
                            "export",
                            layer->name, name);
}

static kn_status check_exports(const kni_check *check, const kni_elf *elf)
{
    const kni_metadata *metadata = &check->package->metadata;
    for (size_t i = 0; i < metadata->n_layers; ++i) {
        kn_status st = check_layer_function(check, elf, &metadata->layers[i], false);
        if (st == KN_OK)
            st = check_layer_function(check, elf, &metadata->layers[i], true);
        if (st != KN_OK)
            return st;
    }
    return kni_check_pass(
        check, KNI_STAGE_CODE, "exports", "exports %zu functions%s", elf->n_functions,
        elf->has_unique_symbols ? " (and symbols that are unique in the whole process)" : "");
}

kn_status kni_check_library(const kni_check *check, const kni_elf *elf, const char *name)
{
    kn_status st = check_needs(check, elf, name);
    if (st == KN_OK)
        st = check_machine(check, elf, name);
    if (st == KN_OK && !check->checked->is_hosted) // its host knows what it exports
        st = check_exports(check, elf);
    return st;
}
