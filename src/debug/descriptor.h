/* SPDX-License-Identifier: MIT */
/* descriptor.h: what a descriptor is, in words. */
#ifndef BL__DEBUG_DESCRIPTOR_H
#define BL__DEBUG_DESCRIPTOR_H

#include "debug/out.h"

/* "descriptor 4 (TCP, listening on 127.0.0.1:80)", "descriptor 5 (pipe:[1234])", or its number
 * alone. What it is now: who reports it may come too late. */
void bl__descriptor_print(bl__out *o, int fd);

#endif
