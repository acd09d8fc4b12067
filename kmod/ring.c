// SPDX-License-Identifier: GPL-2.0-only
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>

#include "ring.h"

static_assert(sizeof(struct gc_record) == 32);
static_assert(sizeof(struct gc_ring_producer) == 24);
static_assert(PAGE_SHIFT == GC_PAGE_SHIFT);

size_t gc_ring_bytes(u32 entries)
{
	return GC_RING_RECORDS_OFFSET + PAGE_ALIGN((size_t)entries * sizeof(struct gc_record));
}

int gc_ring_init(struct gc_ring *ring, u32 entries)
{
	void *area;

	if (!is_power_of_2(entries) || entries < GC_RING_MIN_ENTRIES)
		return -EINVAL;
	/* User space chooses the size: fail rather than invoke the OOM killer. */
	area = __vmalloc(gc_ring_bytes(entries),
			 GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
	if (!area)
		return -ENOMEM;
	*ring = (struct gc_ring){
		.consumer = area + GC_RING_CONSUMER_OFFSET,
		.producer = area + GC_RING_PRODUCER_OFFSET,
		.records = area + GC_RING_RECORDS_OFFSET,
		.entries = entries,
	};
	ring->producer->entries = entries;
	ring->producer->record_size = sizeof(struct gc_record);
	return 0;
}

void gc_ring_destroy(struct gc_ring *ring)
{
	vfree(ring->consumer);
	ring->consumer = NULL;
}

void gc_ring_refresh_tail(struct gc_ring *ring)
{
	/* Pairs with the consumer's release of tail: it has finished reading the slots it frees. */
	u64 tail = smp_load_acquire(&ring->consumer->tail);

	if (tail - ring->tail <= ring->head - ring->tail)
		ring->tail = tail;
	else
		ring->garbage++;
}

void gc_ring_want_kick(struct gc_ring *ring, u32 wanted)
{
	WRITE_ONCE(ring->producer->kick_wanted, wanted);
	/* Pairs with the consumer's full barrier between storing tail and loading kick_wanted. */
	smp_mb();
}

unsigned long gc_ring_mapping_pages(const struct gc_ring *ring)
{
	return gc_ring_bytes(ring->entries) >> PAGE_SHIFT;
}

struct page *gc_ring_page(const struct gc_ring *ring, unsigned long index)
{
	if (index >= gc_ring_mapping_pages(ring))
		return NULL;
	return vmalloc_to_page((void *)ring->consumer + (index << PAGE_SHIFT));
}
