// A plan as a JSON value.
#ifndef KNI_KERNELIZE_PLAN_JSON_H
#define KNI_KERNELIZE_PLAN_JSON_H

#include <jansson.h>

#include "kernelize/plan.h"

// docs/plan.schema.json, without `request` and `mapping`. in_file: for kn_plan_write. NULL without memory.
json_t *kni_plan_value(kn_plan *plan, bool in_file);

#endif
