// The environment as huggingface_hub reads it, by secure_getenv: a program with more rights than its caller sees none of it.
#ifndef KNI_HUB_ENVIRON_H
#define KNI_HUB_ENVIRON_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/base.h"

const char *kni_env(const char *name);  // NULL: unset or empty
bool kni_env_is_true(const char *name); // 1, ON, YES, TRUE in any case

// Whole seconds as milliseconds; *ms stays when the variable is unset or 0. Error: KN_ERR_INVALID.
kn_status kni_env_seconds(const char *name, uint32_t *ms, kn_error *err);

// The user's home directory, caller's: HOME, else what the system's user list says. NULL and KN_OK: there is none.
kn_status kni_home_dir(char **out, kn_error *err);

typedef enum kni_env_expand {
    KNI_EXPAND_HOME = 1,      // ~ and ~user in front
    KNI_EXPAND_VARIABLES = 2, // then $NAME and ${NAME}; what is not set stays as it is
} kni_env_expand;

// `value` of the variable `name` as an absolute path, caller's: expanded, and below the working directory when it is relative.
// Error: KN_ERR_INVALID (no such home directory, no working directory, control characters), KN_ERR_NO_MEMORY.
kn_status kni_env_path(const char *name, const char *value, unsigned expand, char **out,
                       kn_error *err);

#endif
