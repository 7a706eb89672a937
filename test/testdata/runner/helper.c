/* SPDX-License-Identifier: MIT */
#include "helper.h"

int helper(void) { return 42; }
