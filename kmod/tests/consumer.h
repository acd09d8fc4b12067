/* SPDX-License-Identifier: GPL-2.0-only */
/* The consumer's side of a session, as user space implements it, for the suites. */
#ifndef GC_CONSUMER_H
#define GC_CONSUMER_H

#include "session.h"

/* Takes the next record. Returns false if there is none. */
static inline bool gc_take(struct gc_session *session, struct gc_record *record)
{
	struct gc_ring *ring = &session->ring;
	u64 tail = ring->consumer->tail;

	if (tail == ring->producer->head)
		return false;
	*record = ring->records[tail & (ring->entries - 1)];
	ring->consumer->tail = tail + 1;
	return true;
}

/* Returns the number of records taken. */
static inline u64 gc_take_all(struct gc_session *session)
{
	struct gc_record record;
	u64 taken = 0;

	while (gc_take(session, &record))
		taken++;
	return taken;
}

#endif /* GC_CONSUMER_H */
