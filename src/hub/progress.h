// How far a download is, for its callback: ten times a second, the rate over the last seconds, and whether it was cancelled.
#ifndef KNI_HUB_PROGRESS_H
#define KNI_HUB_PROGRESS_H

#include "kernels/hub.h"

enum {
    KNI_METER_SAMPLES = 16,
};

typedef struct kni_meter {
    kn_progress_fn fn; // NULL: nobody is told
    void *user;
    kn_progress progress; // the caller fills what it counts before it tells
    uint64_t told_ms;     // when it was told last
    bool is_cancelled;
    bool was_told;
    struct {
        uint64_t ms, bytes;
    } samples[KNI_METER_SAMPLES]; // a ring
    size_t n_samples;             // ever taken
} kni_meter;

uint64_t kni_clock_ms(void); // monotonic: a change of the wall clock changes nothing

void kni_meter_init(kni_meter *meter, kn_progress_fn fn, void *user, const char *repo_id,
                    const char *variant);
// Is it time to tell? Asked before the counting, which may be work.
bool kni_meter_is_due(const kni_meter *meter, uint64_t now_ms);
// Tells what meter->progress holds, with the rate. False: the callback has cancelled, now or before.
bool kni_meter_tell(kni_meter *meter, uint64_t now_ms);
// Tells for the last time, when anything was told before or there were files at all.
void kni_meter_end(kni_meter *meter, uint64_t now_ms);

#endif
