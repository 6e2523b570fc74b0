// What device code is really in a package's library, in the words of metadata.json.
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/fs.h"
#include "package/cuda.h"
#include "package/elf.h"
#include "package/package.h"
#include "package/rocm.h"

// Adds a word that is not there yet.
static void add_word(kni_buf *out, const char *word)
{
    const size_t size = strlen(word);
    for (const char *at = kni_buf_text(out); *at; at += strcspn(at, " "), at += *at == ' ')
        if (strncmp(at, word, size) == 0 && (at[size] == ' ' || !at[size]))
            return;
    kni_buf_printf(out, "%s%s", out->size ? " " : "", word);
}

static bool is_in(const kni_cuda_code *code, const kni_cuda_target *like, kni_cuda_kind kind)
{
    for (size_t i = 0; i < code->n_targets; ++i)
        if (code->targets[i].kind == kind && code->targets[i].arch == like->arch &&
            code->targets[i].suffix == like->suffix)
            return true;
    return false;
}

// "8.0+PTX" is PTX of 8.0, with machine code beside it or without.
static kn_status add_cuda(const kni_elf *elf, const char *name, kni_buf *out, kn_error *err)
{
    kni_cuda_code code = {.n_targets = 0};
    const kn_status st = kni_cuda_read_elf(elf, name, &code, err);
    for (size_t i = 0; st == KN_OK && i < code.n_targets; ++i) {
        const kni_cuda_target *target = &code.targets[i];
        const char suffix[2] = {target->suffix, '\0'};
        const bool has_ptx = is_in(&code, target, KNI_CUDA_PTX);
        kni_buf word = KNI_BUF_ANY;
        if (target->kind != KNI_CUDA_CUBIN && target->kind != KNI_CUDA_PTX)
            continue;
        kni_buf_printf(&word, "%u.%u%s%s", target->arch / 10u, target->arch % 10u, suffix,
                       has_ptx ? "+PTX" : "");
        add_word(out, kni_buf_text(&word));
        out->failed |= word.failed;
        kni_buf_dispose(&word);
    }
    kni_cuda_dispose(&code);
    return st;
}

static kn_status add_rocm(const kni_elf *elf, const char *name, kni_buf *out, kn_error *err)
{
    kni_rocm_code code = {.n_targets = 0};
    const kn_status st = kni_rocm_read_elf(elf, name, &code, err);
    for (size_t i = 0; st == KN_OK && i < code.n_targets; ++i) {
        kni_buf word = KNI_BUF_ANY;
        kni_rocm_target_text(&code.targets[i], &word);
        add_word(out, kni_buf_text(&word));
        out->failed |= word.failed;
        kni_buf_dispose(&word);
    }
    kni_rocm_dispose(&code);
    return st;
}

kn_status kn_package_read_archs(const kn_package *package, char **out, kn_error *err)
{
    kni_buf file = KNI_BUF_ANY, words = KNI_BUF_ANY;
    kni_elf elf = {.n_loads = 0};
    if (out)
        *out = NULL;
    if (!package || !out)
        return kn_error_set(err, KN_ERR_INVALID, "kn_package_read_archs: an argument is NULL");
    if (!package->library[0])
        return kn_error_set(err, KN_ERR_NOT_FOUND, "%s: the package has no library", package->dir);
    char *path = kni_path_join(package->dir, package->library);
    kn_status st = path ? kni_file_read(&file, path, err) : kni_no_memory(err);
    if (st == KN_OK)
        st = kni_elf_read(file.data, file.size, path, &elf, err);
    if (st == KN_OK)
        st = add_cuda(&elf, path, &words, err);
    if (st == KN_OK)
        st = add_rocm(&elf, path, &words, err);
    if (st == KN_OK) {
        *out = kni_buf_take(&words);
        st = *out ? KN_OK : kni_no_memory(err);
    }
    kni_elf_dispose(&elf);
    kni_buf_dispose(&words);
    kni_buf_dispose(&file);
    kni_free(path);
    return st;
}
