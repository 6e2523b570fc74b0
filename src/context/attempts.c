#include "context/attempts.h"

#include "package/variant.h"

// Those that were looked at for layers, which stand first, once more.
static size_t look_again(kni_attempt *out, size_t n, size_t n_looked)
{
    for (size_t i = 0; i < n_looked; ++i)
        out[n + i] = (kni_attempt){out[i].index, KNI_LOOK_AGAIN, false};
    return n + n_looked;
}

size_t kni_attempts_plan(const char *const *names, const size_t *order, size_t n_fit,
                         bool has_torch, kni_attempt *out)
{
    size_t n = 0, n_looked = 0;
    bool is_placed = !has_torch;
    for (size_t i = 0; i < n_fit; ++i) {
        kni_variant variant;
        kni_variant_parse(kni_span_of(names[order[i]]), &variant, NULL); // it fits: it is one
        const bool looks = has_torch && variant.framework == KNI_FRAMEWORK_TVM_FFI;
        if (variant.is_noarch && !is_placed) {
            n = look_again(out, n, n_looked);
            is_placed = true;
        }
        out[n++] = (kni_attempt){order[i], looks ? KNI_LOOK_LAYERS : KNI_LOOK_ONCE, true};
        n_looked += looks;
    }
    return is_placed ? n : look_again(out, n, n_looked);
}

void kni_attempts_pass_over(kni_attempt *attempts, size_t n, size_t index)
{
    for (size_t i = 0; i < n; ++i)
        if (attempts[i].index == index && attempts[i].look == KNI_LOOK_AGAIN)
            attempts[i].is_due = true;
}
