/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which pages of a session were touched: one bit each.
 *
 * Writers hold a lock of the caller's. gc_pageset_test() needs none: who sees a bit set also sees
 * everything that was written before gc_pageset_set().
 */
#ifndef GC_PAGESET_H
#define GC_PAGESET_H

#include <linux/bitops.h>
#include <linux/types.h>

struct gc_pageset {
	unsigned long *bits;
	u64 pages; /* valid indices are 0 .. pages - 1 */
	u64 set; /* number of bits that are set */
};

int gc_pageset_init(struct gc_pageset *set, u64 pages);
void gc_pageset_destroy(struct gc_pageset *set);

static inline bool gc_pageset_test(const struct gc_pageset *set, u64 page)
{
	/* Pairs with the barrier in gc_pageset_set(). */
	return test_bit_acquire(page, set->bits);
}

static inline void gc_pageset_set(struct gc_pageset *set, u64 page)
{
	/* Pairs with the acquire in gc_pageset_test(): the record is in the ring before the bit. */
	smp_mb__before_atomic();
	set_bit(page, set->bits);
	set->set++;
}

/* Returns how many of the bits were set. Time is linear in count. */
u64 gc_pageset_clear(struct gc_pageset *set, u64 first, u64 count);

#endif /* GC_PAGESET_H */
