// For tests alone.
#ifndef KNI_HUB_HTTP_TEST_H
#define KNI_HUB_HTTP_TEST_H

#include <stdint.h>

#include "hub/http.h"

// How long a second of waiting between tries is, in ms: 1000, until it is set. Before the first request.
void kni_http_set_second(kni_http *http, int64_t ms);

#endif
