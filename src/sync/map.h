/* SPDX-License-Identifier: MIT */
/* map.h: the record of a bl_map, for its tests. */
#ifndef BL__SYNC_MAP_H
#define BL__SYNC_MAP_H

#include "belay/map.h"
#include "sync/table.h"

/* A map's state. The odd values tell one from memory that is something else by now. */
enum { BL__MAP_IDLE = 0x6d617030, BL__MAP_WRITING, BL__MAP_FREED };

struct bl_map {
    uint32_t state;       /* relaxed; written by who changes the map: see map.c */
    uint32_t lock;        /* of table.cursors */
    bl__table table;      /* whoever changes the map; readers while nobody does */
    bl__shape shape;      /* immutable */
    const bl__site *made; /* immutable */
};

#endif
