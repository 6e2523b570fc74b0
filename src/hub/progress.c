#include "hub/progress.h"

#include <time.h>

enum {
    TELL_MS = 100,
    SAMPLE_MS = 250, // the ring spans four seconds
};

uint64_t kni_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void kni_meter_init(kni_meter *meter, kn_progress_fn fn, void *user, const char *repo_id,
                    const char *variant)
{
    *meter = (kni_meter){
        .fn = fn,
        .user = user,
        .progress = {.struct_size = sizeof(kn_progress), .repo_id = repo_id, .variant = variant}};
}

bool kni_meter_is_due(const kni_meter *meter, uint64_t now_ms)
{
    return meter->fn && !meter->is_cancelled &&
           (!meter->was_told || now_ms - meter->told_ms >= TELL_MS);
}

// Bytes that were taken back (a body that began again) are no negative rate.
static uint64_t rate(kni_meter *meter, uint64_t now_ms)
{
    const uint64_t bytes = meter->progress.bytes_done;
    const size_t last = (meter->n_samples + KNI_METER_SAMPLES - 1) % KNI_METER_SAMPLES;
    if (meter->n_samples == 0 || now_ms - meter->samples[last].ms >= SAMPLE_MS) {
        const size_t next = meter->n_samples++ % KNI_METER_SAMPLES;
        meter->samples[next].ms = now_ms;
        meter->samples[next].bytes = bytes;
    }
    const size_t oldest =
        meter->n_samples > KNI_METER_SAMPLES ? meter->n_samples % KNI_METER_SAMPLES : 0;
    const uint64_t span = now_ms - meter->samples[oldest].ms;
    if (span == 0 || bytes <= meter->samples[oldest].bytes)
        return 0;
    return (uint64_t)((double)(bytes - meter->samples[oldest].bytes) * 1000.0 / (double)span);
}

bool kni_meter_tell(kni_meter *meter, uint64_t now_ms)
{
    if (!meter->fn || meter->is_cancelled)
        return !meter->is_cancelled;
    meter->progress.bytes_per_second = rate(meter, now_ms);
    meter->told_ms = now_ms;
    meter->was_told = true;
    meter->is_cancelled = meter->fn(meter->user, &meter->progress) != 0;
    return !meter->is_cancelled;
}

void kni_meter_end(kni_meter *meter, uint64_t now_ms)
{
    if (!meter->fn || (!meter->was_told && meter->progress.files_total == 0))
        return;
    meter->progress.bytes_per_second = rate(meter, now_ms);
    meter->progress.is_done = 1;
    meter->progress.is_waiting = 0;
    (void)meter->fn(meter->user, &meter->progress); // there is nothing left to cancel
}
