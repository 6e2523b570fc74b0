#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/trace.h"
#include "mapping/mapping.h"
#include "mapping/mode.h"

// What is looked for, and who wants to know how.
typedef struct search {
    const char *layer;
    kn_device_type device;
    int64_t capability; // below 0: unknown
    kn_mode mode;
    kn_trace *trace; // NULL: nobody
} search;

static bool contains(kn_range range, int64_t capability)
{
    return !range.given || (capability >= range.min && capability <= range.max);
}

// The narrowest slot of the device that contains the capability; equally narrow: the one registered later. NULL: none.
static const kni_slot *choose_slot(const kni_mapped_layer *layer, kn_device_type device,
                                   int64_t capability, bool *has_device)
{
    const kni_slot *best = NULL;
    *has_device = false;
    for (size_t i = 0; i < layer->n_slots; ++i) {
        const kni_slot *slot = &layer->slots[i];
        if (slot->device != device)
            continue;
        *has_device = true;
        if (!contains(slot->range, capability))
            continue;
        // Slots of a device are sorted by width.
        if (best && slot->range.max - slot->range.min > best->range.max - best->range.min)
            break;
        if (!best || slot->rank > best->rank)
            best = slot;
    }
    return best;
}

static const struct kni_mode_row *choose_mode(const kni_mode_table *table, const kn_mode *chain,
                                              size_t n_chain)
{
    for (size_t i = 0; i < n_chain; ++i)
        for (size_t j = 0; j < table->count; ++j)
            if (table->rows[j].mode == chain[i])
                return &table->rows[j];
    return NULL;
}

static bool trace_no_layer(const search *s)
{
    return kni_trace_add(s->trace, "mapping", s->layer, false, "layer",
                         "an entry for this layer name", "no kernel is registered for it");
}

static bool trace_no_device(const search *s, const kni_mapped_layer *layer)
{
    kni_buf types = KNI_BUF_ANY;
    for (size_t i = 0; i < layer->n_slots; ++i)
        if (i == 0 || layer->slots[i].device != layer->slots[i - 1].device)
            kni_buf_printf(&types, "%s%s", i ? ", " : "",
                           kn_device_type_name(layer->slots[i].device));
    const bool good =
        !types.failed &&
        kni_trace_add(s->trace, "mapping", s->layer, false, "device",
                      "an entry for this device type", "registered for %s, not for %s",
                      kni_buf_text(&types), kn_device_type_name(s->device));
    kni_buf_dispose(&types);
    return good;
}

// Every interval of the device: what it is, and why it is not the chosen one.
static bool trace_slots(const search *s, const kni_mapped_layer *layer, const kni_slot *chosen)
{
    bool good = true;
    char has[48] = "of unknown capability", range[KNI_RANGE_TEXT_SIZE], best[KNI_RANGE_TEXT_SIZE];
    if (s->capability >= 0)
        snprintf(has, sizeof(has), "of capability %" PRId64, s->capability);
    if (chosen)
        kni_range_text(chosen->range, best);
    for (size_t i = 0; good && i < layer->n_slots; ++i) {
        const kni_slot *slot = &layer->slots[i];
        char subject[KNI_RANGE_TEXT_SIZE + 16];
        if (slot->device != s->device)
            continue;
        kni_range_text(slot->range, range);
        snprintf(subject, sizeof(subject), "%s, %s", kn_device_type_name(slot->device), range);
        if (slot == chosen)
            good = kni_trace_add(s->trace, "mapping", subject, true, "", NULL, "the device is %s",
                                 has);
        else if (!contains(slot->range, s->capability))
            good = kni_trace_add(s->trace, "mapping", subject, false, "capability",
                                 s->capability >= 0 ? "a device in this interval"
                                                    : "a device whose capability is known",
                                 "the device is %s", has);
        else if (slot->range.max - slot->range.min == chosen->range.max - chosen->range.min)
            good =
                kni_trace_add(s->trace, "mapping", subject, false, "order", "registering it last",
                              "%s is as narrow and was registered later", best);
        else
            good = kni_trace_add(s->trace, "mapping", subject, false, "width", NULL,
                                 "%s is narrower", best);
    }
    return good;
}

static bool trace_modes(const search *s, const kni_mode_table *table, const kn_mode *chain,
                        size_t n_chain, const struct kni_mode_row *chosen)
{
    char text[KN_MODE_TEXT_SIZE];
    kni_buf modes = KNI_BUF_ANY;
    for (size_t i = 0; i < table->count; ++i)
        kni_buf_printf(&modes, "%s%s", i ? ", " : "", kn_mode_text(table->rows[i].mode, text));
    bool good = !modes.failed;
    for (size_t i = 0; good && i < n_chain; ++i) {
        kn_mode_text(chain[i], text);
        if (chosen && chain[i] == chosen->mode) {
            good = kni_trace_add(s->trace, "mode", text, true, "", NULL, "%s",
                                 chosen->reference->text);
            break;
        }
        good = kni_trace_add(s->trace, "mode", text, false, "mode", "an entry for this mode",
                             "the interval is registered for %s", kni_buf_text(&modes));
    }
    kni_buf_dispose(&modes);
    return good;
}

// False when the trace could not be written.
static bool find(const kn_mapping *mapping, const search *s, const kn_mode *chain, size_t n_chain,
                 kn_mapping_answer *out)
{
    const size_t size = strlen(s->layer);
    const kni_mapped_layer *layer =
        mapping ? kni_trie_find(mapping->layers, kni_trie_hash(s->layer, size), s->layer, size)
                : NULL;
    out->found = KN_FOUND_NO_LAYER;
    if (!layer)
        return !s->trace || trace_no_layer(s);
    bool has_device;
    const kni_slot *slot = choose_slot(layer, s->device, s->capability, &has_device);
    if (!has_device) {
        out->found = KN_FOUND_NO_DEVICE;
        return !s->trace || trace_no_device(s, layer);
    }
    if (s->trace && !trace_slots(s, layer, slot))
        return false;
    out->found = KN_FOUND_NO_PROPERTIES;
    if (!slot)
        return true;
    out->capability = slot->range;
    const struct kni_mode_row *row = choose_mode(slot->table, chain, n_chain);
    out->found = row ? KN_FOUND : KN_FOUND_NO_MODE;
    if (row) {
        out->mode = row->mode;
        out->reference = row->reference;
    }
    return !s->trace || trace_modes(s, slot->table, chain, n_chain, row);
}

kn_status kn_mapping_find(const kn_mapping *mapping, const char *layer, kn_device_type device,
                          int64_t capability, kn_mode mode, kn_mapping_answer *out, kn_trace *trace,
                          kn_error *err)
{
    const search s = {layer, device, capability, mode, trace};
    size_t n_chain;
    const kn_mode *chain = kni_mode_chain(mode, &n_chain);
    if (out->struct_size < sizeof(*out))
        return kn_error_set(err, KN_ERR_INVALID,
                            "kn_mapping_answer: struct_size is %zu: start with "
                            "KN_MAPPING_ANSWER_INIT",
                            out->struct_size);
    if (!layer)
        return kn_error_set(err, KN_ERR_INVALID, "layer: is NULL: the name of a layer");
    if (!chain)
        return kn_mode_check_request(mode, err);
    out->mode = 0;
    out->capability = (kn_range){0};
    out->reference = NULL;
    return find(mapping, &s, chain, n_chain, out) ? KN_OK : kni_no_memory(err);
}
