// Plans in files.
#ifndef KNI_KERNELIZE_PLAN_FILE_H
#define KNI_KERNELIZE_PLAN_FILE_H

#include "base/json.h"
#include "kernelize/plan.h"

enum { KNI_PLAN_MODULES_MAX = 1 << 20 };
// What is read: for each module an array of three, beside what any other file may have. A million modules take half a gigabyte meanwhile.
extern const kni_json_limits kni_plan_limits;

// The text that kn_plan_write writes; the caller's. Error: as kn_plan_write, but for the disk's.
kn_status kni_plan_file_text(kn_plan *plan, char **out, kn_error *err);

// What kn_plan_read makes of a file's text. `name` begins the errors. Error: KN_ERR_FORMAT, KN_ERR_NO_MEMORY.
kn_status kni_plan_parse(const char *text, size_t size, const char *name, kn_plan **out,
                         kn_error *err);

#endif
