/* SPDX-License-Identifier: MIT */
/* table.h: the goroutines as a table that a program reads. */
#ifndef BL__DEBUG_TABLE_H
#define BL__DEBUG_TABLE_H

#include <stdint.h>

/* Writes them to fd; of one, if id is not 0, its traceback. 0 or BL_ENOMEM. */
int bl__table_write(int fd, uint64_t id);

#endif
