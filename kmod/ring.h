/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The producer side of the ring of records that user space maps. guidecopy.h has the layout and the
 * rules for both sides. User space is not trusted: the shared tail is read once and bounds-checked,
 * and the kernel's own counters are private; the shared page only has copies of them.
 *
 * The caller serialises all calls except gc_ring_page().
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
	u64 tail; /* the last valid value of the shared tail */
	u64 garbage; /* invalid values seen */
};

/* Returns the memory that a ring takes. */
size_t gc_ring_bytes(u32 entries);

int gc_ring_init(struct gc_ring *ring, u32 entries);
void gc_ring_destroy(struct gc_ring *ring);

/* Adopts the shared tail if it is valid. */
void gc_ring_refresh_tail(struct gc_ring *ring);

static inline bool gc_ring_has_room(struct gc_ring *ring)
{
	if (ring->head - ring->tail < ring->entries)
		return true;
	gc_ring_refresh_tail(ring);
	return ring->head - ring->tail < ring->entries;
}

/* Returns the slot of the next record. Requires room; the caller fills it, then publishes it. */
static inline struct gc_record *gc_ring_slot(struct gc_ring *ring)
{
	return &ring->records[ring->head & (ring->entries - 1)];
}

static inline void gc_ring_publish(struct gc_ring *ring)
{
	ring->head++;
	/* Pairs with the consumer's acquire of head: it sees the complete record. */
	smp_store_release(&ring->producer->head, ring->head);
}

/*
 * Sets kick_wanted. Afterwards either gc_ring_has_room() sees the consumer's tail, or the consumer
 * sees kick_wanted.
 */
void gc_ring_want_kick(struct gc_ring *ring, u32 wanted);

/* Returns the shared tail unchecked, for poll(2), where a wrong value harms only its writer. */
static inline u64 gc_ring_user_tail(const struct gc_ring *ring)
{
	return READ_ONCE(ring->consumer->tail);
}

/* Return the size of the mapping in pages, and one of its pages (NULL if index is out of range). */
unsigned long gc_ring_mapping_pages(const struct gc_ring *ring);
struct page *gc_ring_page(const struct gc_ring *ring, unsigned long index);

#endif /* GC_RING_H */
