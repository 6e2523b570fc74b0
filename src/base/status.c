#include "kernels/base.h"

const char *kn_status_text(kn_status status)
{
    switch (status) {
#define CASE(name, value, text)                                                                    \
    case name:                                                                                     \
        return text;
        KN_STATUS_LIST(CASE)
#undef CASE
    }
    return "unknown status";
}

const char *kn_version(void)
{
    return KN_VERSION_STRING;
}
