/** All of libkernels. (Kernel authors include <kernels/author.h>, which needs nothing of the library.) */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

#include "base.h"
#include "context.h"
#include "device.h"
#include "host.h"
#include "hub.h"
#include "kernelize.h"
#include "layer.h"
#include "mapping.h"
#include "module.h"
#include "package.h"
#include "plan.h"

#endif
