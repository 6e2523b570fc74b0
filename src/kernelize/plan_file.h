// Plans in files.
#ifndef KNI_KERNELIZE_PLAN_FILE_H
#define KNI_KERNELIZE_PLAN_FILE_H

#include "kernelize/plan.h"

// The text that kn_plan_write writes; the caller's. Error: as kn_plan_write, but for the disk's.
kn_status kni_plan_file_text(kn_plan *plan, char **out, kn_error *err);

// What kn_plan_read makes of a file's text. `name` begins the errors. Error: KN_ERR_FORMAT, KN_ERR_NO_MEMORY.
kn_status kni_plan_parse(const char *text, size_t size, const char *name, kn_plan **out,
                         kn_error *err);

#endif
