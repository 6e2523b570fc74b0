// Why kernelize gave the modules of a class no kernel: kept on the class, since nothing is written on modules that keep their own forward.
#include "base/alloc.h"
#include "kernelize/module.h"

void kni_notes_free(kni_note *notes)
{
    while (notes) {
        kni_note *next = notes->next;
        kni_free(notes);
        notes = next;
    }
}

static kni_note *make_note(const kn_host_reason *why)
{
    const size_t reason = strlen(why->reason) + 1, admits = strlen(why->admits) + 1;
    kni_note *note = kni_alloc(sizeof(*note) + reason + admits);
    if (!note)
        return NULL;
    *note = (kni_note){.device = why->device, .device_index = why->device_index, .rule = why->rule};
    memcpy(note->text, why->reason, reason);
    memcpy(note->text + reason, why->admits, admits);
    return note;
}

void kni_class_decline(kn_class *cls, const kn_host_reason *why)
{
    kni_note *made = why->reason ? make_note(why) : NULL, *old = NULL;
    pthread_mutex_lock(&cls->lock);
    kni_note **at = &cls->notes;
    while (*at && ((*at)->device != why->device || (*at)->device_index != why->device_index))
        at = &(*at)->next;
    if (*at) {
        old = *at;
        *at = old->next;
    }
    if (made) {
        made->next = cls->notes;
        cls->notes = made;
    }
    pthread_mutex_unlock(&cls->lock);
    kni_free(old);
}

void kni_class_why(kn_class *cls, kn_host_reason *out, kni_buf *said)
{
    size_t reason = 0;
    said->size = 0;
    pthread_mutex_lock(&cls->lock);
    const kni_note *note = cls->notes;
    while (note && out->device != KN_DEVICE_NONE &&
           (note->device != out->device || note->device_index != out->device_index))
        note = note->next;
    if (note) {
        reason = strlen(note->text) + 1;
        kni_buf_append(said, note->text, reason + strlen(note->text + reason) + 1);
        out->device = note->device;
        out->device_index = note->device_index;
        out->rule = note->rule;
    }
    pthread_mutex_unlock(&cls->lock);
    if (!note || said->failed)
        return;
    out->reason = said->data;
    out->admits = said->data + reason;
}
