// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "pageset.h"

int gc_pageset_init(struct gc_pageset *set, u64 pages)
{
	set->bits = kvcalloc(BITS_TO_LONGS(pages), sizeof(long), GFP_KERNEL_ACCOUNT);
	if (!set->bits)
		return -ENOMEM;
	set->pages = pages;
	set->set = 0;
	return 0;
}

void gc_pageset_destroy(struct gc_pageset *set)
{
	kvfree(set->bits);
	set->bits = NULL;
}

bool gc_pageset_test(const struct gc_pageset *set, u64 page)
{
	/* Pairs with the barrier in gc_pageset_set(). */
	return test_bit_acquire(page, set->bits);
}

void gc_pageset_set(struct gc_pageset *set, u64 page)
{
	/* Pairs with the acquire in gc_pageset_test(): the record is in the ring before the bit. */
	smp_mb__before_atomic();
	set_bit(page, set->bits);
	set->set++;
}

u64 gc_pageset_clear(struct gc_pageset *set, u64 first, u64 count)
{
	u64 page, cleared = 0;

	for (page = first; page < first + count; page++)
		if (test_and_clear_bit(page, set->bits))
			cleared++;
	set->set -= cleared;
	return cleared;
}
