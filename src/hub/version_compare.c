// The order of PEP 440, "Summary of permitted suffixes and relative ordering".
#include <string.h>

#include "hub/version_parts.h"

static const kni_span zero = {"0", 1};

int kni_number_compare(kni_span a, kni_span b)
{
    if (a.size != b.size) // there are no leading zeros
        return a.size < b.size ? -1 : 1;
    return memcmp(a.data, b.data, a.size);
}

static kni_span release_at(const kni_version *version, size_t i)
{
    return i < version->n_release ? version->release[i] : zero;
}

static int compare_release(const kni_version *a, const kni_version *b)
{
    const size_t n = a->n_release > b->n_release ? a->n_release : b->n_release;
    int order = kni_number_compare(a->epoch, b->epoch);
    for (size_t i = 0; order == 0 && i < n; ++i)
        order = kni_number_compare(release_at(a, i), release_at(b, i));
    return order;
}

// 1.0.dev1 < 1.0a1.dev1 < 1.0a1 < 1.0a1.post1.dev1 < 1.0a1.post1 < 1.0rc1 < 1.0 < 1.0.post1
static int rank_pre(const kni_version *version)
{
    const bool is_dev_alone =
        version->pre == KNI_PRE_NONE && !version->has_post && version->has_dev;
    return is_dev_alone ? -1 : version->pre;
}

int kni_version_compare_public(const kni_version *a, const kni_version *b)
{
    int order = compare_release(a, b);
    if (order == 0)
        order = rank_pre(a) - rank_pre(b);
    if (order == 0 && a->pre != KNI_PRE_NONE)
        order = kni_number_compare(a->pre_number, b->pre_number);
    if (order == 0)
        order = (int)a->has_post - (int)b->has_post;
    if (order == 0 && a->has_post)
        order = kni_number_compare(a->post, b->post);
    if (order == 0)
        order = (int)b->has_dev - (int)a->has_dev;
    if (order == 0 && a->has_dev)
        order = kni_number_compare(a->dev, b->dev);
    return order;
}

static bool is_number(kni_span part)
{
    for (size_t i = 0; i < part.size; ++i)
        if (part.data[i] < '0' || part.data[i] > '9')
            return false;
    return true;
}

// Words before numbers, words by their bytes.
static int compare_local_part(kni_span a, kni_span b)
{
    const bool a_is_number = is_number(a), b_is_number = is_number(b);
    if (a_is_number != b_is_number)
        return a_is_number ? 1 : -1;
    if (a_is_number)
        return kni_number_compare(a, b);
    const int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_local(kni_span a, kni_span b)
{
    kni_span part_a, part_b;
    if (a.size == 0 || b.size == 0)
        return (a.size > 0) - (b.size > 0);
    for (;;) {
        const bool has_a = kni_span_cut(&a, '.', &part_a), has_b = kni_span_cut(&b, '.', &part_b);
        if (!has_a || !has_b)
            return (int)has_a - (int)has_b;
        const int order = compare_local_part(part_a, part_b);
        if (order)
            return order;
    }
}

int kni_version_compare(const kni_version *a, const kni_version *b)
{
    const int order = kni_version_compare_public(a, b);
    return order ? order : compare_local(a->local, b->local);
}

bool kni_version_is_prerelease(const kni_version *version)
{
    return version->pre != KNI_PRE_NONE || version->has_dev;
}

bool kni_version_same_release(const kni_version *a, const kni_version *b)
{
    return compare_release(a, b) == 0;
}

bool kni_version_has_prefix(const kni_version *version, const kni_version *prefix, size_t n)
{
    if (kni_number_compare(version->epoch, prefix->epoch) != 0)
        return false;
    for (size_t i = 0; i < n; ++i)
        if (kni_number_compare(release_at(version, i), release_at(prefix, i)) != 0)
            return false;
    return true;
}
