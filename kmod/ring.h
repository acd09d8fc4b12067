/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The producing side of the ring of records that user space maps; its layout and the rules of both
 * sides are in guidecopy.h. Nothing of what user space can write is trusted: the shared tail is
 * read once and bounds-checked, and of the kernel's own counters the shared page only gets copies.
 *
 * The caller serialises everything but gc_ring_page().
 */
#ifndef GC_RING_H
#define GC_RING_H

#include <linux/types.h>

#include <asm/barrier.h>

#include <guidecopy.h>

struct page;

struct gc_ring {
	struct gc_ring_consumer *consumer; /* start of the one allocation */
	struct gc_ring_producer *producer;
	struct gc_record *records;
	u32 entries;
	u64 head;
	u64 tail; /* the last good one that user space stored */
	u64 garbage; /* bad tails seen */
};

int gc_ring_init(struct gc_ring *ring, u32 entries);
void gc_ring_destroy(struct gc_ring *ring);

/* Takes over the shared tail if it can be true. */
void gc_ring_refresh_tail(struct gc_ring *ring);

static inline bool gc_ring_has_room(struct gc_ring *ring)
{
	if (ring->head - ring->tail < ring->entries)
		return true;
	gc_ring_refresh_tail(ring);
	return ring->head - ring->tail < ring->entries;
}

/* Where the next record goes, if there is room: to be filled, then published. */
static inline struct gc_record *gc_ring_slot(struct gc_ring *ring)
{
	return &ring->records[ring->head & (ring->entries - 1)];
}

static inline void gc_ring_publish(struct gc_ring *ring)
{
	ring->head++;
	/* Pairs with the consumer's acquire of head: the record is complete. */
	smp_store_release(&ring->producer->head, ring->head);
}

/* After it gc_ring_has_room() sees what the consumer freed, or the consumer sees the wish. */
void gc_ring_want_kick(struct gc_ring *ring, u32 wanted);

/* The shared tail, as user space says; good for nothing but telling user space about it. */
static inline u64 gc_ring_claimed_tail(const struct gc_ring *ring)
{
	return READ_ONCE(ring->consumer->tail);
}

/* Size of the mapping in pages, and one of its pages. */
unsigned long gc_ring_mapping_pages(const struct gc_ring *ring);
struct page *gc_ring_page(const struct gc_ring *ring, unsigned long index);

#endif /* GC_RING_H */
