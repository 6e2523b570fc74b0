// The layout of what a host hands over: a table of an older host ends after `user`.
#include <kernels/host.h>

_Static_assert(offsetof(kn_host, struct_size) == 0, "struct_size");
_Static_assert(offsetof(kn_host, user) == 64, "user: where the first table ended");
_Static_assert(offsetof(kn_host, framework) == 72, "framework");
_Static_assert(offsetof(kn_host, load) == 80, "load");
_Static_assert(offsetof(kn_host, bound) == 88, "bound");
_Static_assert(offsetof(kn_host, fallbacks) == 96, "fallbacks");
_Static_assert(offsetof(kn_host, advice) == 104, "advice");
_Static_assert(sizeof(kn_host) == 128, "kn_host");
_Static_assert(sizeof(kn_host_candidate) == 48, "kn_host_candidate");
_Static_assert(sizeof(kn_host_layer) == 48, "kn_host_layer");
_Static_assert(sizeof(kn_host_bound) == 64, "kn_host_bound");
_Static_assert(sizeof(kn_host_reason) == 40, "kn_host_reason");
_Static_assert(offsetof(kn_entry, sums) == 104, "sums: where the first entry ended");
_Static_assert(offsetof(kn_entry, object) == 112, "object");
_Static_assert(sizeof(kn_object) == 24, "kn_object");
_Static_assert(offsetof(kn_entry, label) == 136, "label");
_Static_assert(offsetof(kn_reference, object) == 96, "object");
