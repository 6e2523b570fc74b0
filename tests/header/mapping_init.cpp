// The initial values of kernels/mapping.h as C++ sees them.
#include <kernels/mapping.h>

static_assert(KN_ENTRY_INIT.struct_size == sizeof(kn_entry), "KN_ENTRY_INIT");
static_assert(KN_ENTRY_INIT.label == nullptr, "KN_ENTRY_INIT reaches the last field");
static_assert(KN_MAPPING_ROW_INIT.struct_size == sizeof(kn_mapping_row), "KN_MAPPING_ROW_INIT");
static_assert(KN_MAPPING_ROW_INIT.reference == nullptr,
              "KN_MAPPING_ROW_INIT reaches the last field");
static_assert(KN_MAPPING_ANSWER_INIT.struct_size == sizeof(kn_mapping_answer),
              "KN_MAPPING_ANSWER_INIT");
static_assert(KN_MAPPING_ANSWER_INIT.reference == nullptr,
              "KN_MAPPING_ANSWER_INIT reaches the last field");
static_assert(KN_RANGE(75, 89).max == 89 && KN_RANGE(75, 89).given == 1, "KN_RANGE");
