// Between guard.c and guard_slow.c.
#ifndef KNI_LAYER_GUARD_H
#define KNI_LAYER_GUARD_H

#include "layer/program.h"

// A negative extent anywhere is worse than one that does not fit.
KNI_COLD kn_mismatch_reason kni_refuse_extent(kni_guard *g, uint32_t slot, const DLTensor *t,
                                              int32_t dim, int64_t wanted);
KNI_COLD kn_mismatch_reason kni_refuse_device(kni_guard *g, uint32_t slot, const DLTensor *t);
KNI_COLD bool kni_has_zero_extent(const DLTensor *t);

// The slots that a result may be, and is.
KNI_COLD uint64_t kni_find_aliases(const kni_guard *g, const kni_param *p, const DLTensor *t,
                                   bool dense);

// A layout other than plainly contiguous: the rules, and the bytes between which the elements lie.
KNI_COLD kn_mismatch_reason kni_check_layout(kni_guard *g, const kni_param *p, uint32_t slot,
                                             const DLTensor *t, bool dense, int64_t size);

#endif
