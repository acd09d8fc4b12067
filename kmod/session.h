/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The engine: a set of pages, a ring, and the rule that joins them: the first touch of a page makes
 * one record, which is in the ring before the access proceeds. The engine knows nothing about
 * memory or devices. The code that sees accesses (node.c, track.c) calls gc_session_touch():
 *
 *	gc_session_touch() --true--> let the access proceed
 *	  | false: the ring is full
 *	  +- may wait for room: gc_session_wait(), then retry
 *	  +- may only allocate: gc_session_spill(), let the access proceed
 *	  +- may do neither:    gc_session_drop() counts the lost record
 *
 * Lock order: mmap_lock of any process -> gc_session.lock -> wait queue locks. Nothing sleeps under
 * gc_session.lock.
 */
#ifndef GC_SESSION_H
#define GC_SESSION_H

#include <linux/hrtimer.h>
#include <linux/list.h>
#include <linux/poll.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "pageset.h"
#include "ring.h"

/* Pages rearmed per critical section: bounds the time that an access waits for the lock. */
#define GC_REARM_BATCH 4096

/* A record without its time and thread. */
struct gc_access {
	u64 page; /* the first of 1 << order pages */
	enum gc_kind kind;
	unsigned int order;
	u32 vcpu;
};

/* Ids for tracepoints, made from a counter: those of tracks have the highest bit set. */
#define GC_SESSION_ID(count) ((u32)(count) & ~BIT(31))
#define GC_TRACK_ID(count) ((u32)(count) | BIT(31))

struct gc_session {
	u32 id;
	wait_queue_head_t producers; /* threads waiting for room in the ring */
	wait_queue_head_t consumers; /* poll(2) */
	struct hrtimer notify; /* sets readable; started under the lock, which it does not take */
	bool readable; /* poll(2) reports unread records; set without the lock */

	spinlock_t lock; /* protects everything below */
	u64 polled_tail; /* the consumer's tail at its last poll(2) */
	struct gc_pageset touched;
	struct gc_ring ring;
	struct list_head spill; /* of struct gc_spilled; enter the ring before new records */
	u32 spill_length;
	u32 waiting;
	bool dead;
	bool hung_up; /* there will be no more records */
	bool was_mapped;
	u64 mappings;
	u64 records;
	u64 rearmed;
	u64 blocked;
	u64 blocked_ns;
	u64 spilled;
	u64 dropped;
};

/* Returns the memory that a session keeps, but for spilled records. */
u64 gc_session_bytes(u64 pages, u32 entries);

struct gc_session *gc_session_alloc(u32 id, u64 pages, u32 entries);
void gc_session_free(struct gc_session *session);

/* Stops recording and wakes all waiting threads; none waits afterwards. */
void gc_session_kill(struct gc_session *session);
bool gc_session_is_dead(struct gc_session *session);

/* Returns whether the page is touched, so that an access makes no record. */
static inline bool gc_session_is_touched(const struct gc_session *session, u64 page)
{
	return gc_pageset_test(&session->touched, page);
}

/* Records an access unless its pages are touched. Returns false, without effect, if full. */
bool gc_session_touch(struct gc_session *session, const struct gc_access *access);

/* Sleeps until there is room, the session is dead, or a signal arrives that state allows. */
void gc_session_wait(struct gc_session *session, u64 page, unsigned int state);

/* Records a touch that may neither wait nor be dropped. Returns -ENOMEM with no effect. */
int gc_session_spill(struct gc_session *session, const struct gc_access *access);

/* Counts a dropped touch. */
void gc_session_drop(struct gc_session *session);

/*
 * gc_session_report() records pages that were found accessed, touched or not. It drops the record
 * if the ring is full; gc_session_can_report() tells in advance.
 */
bool gc_session_can_report(struct gc_session *session);
void gc_session_report(struct gc_session *session, const struct gc_access *access);

/*
 * Arms pages and returns how many were touched, or -EINTR if the caller is being killed, with some
 * of them armed. Afterwards the caller unmaps them. If any was touched, it first waits for recorded
 * accesses still in flight: a page that one of them maps after the unmap would stay mapped and hide
 * later accesses.
 */
s64 gc_session_rearm(struct gc_session *session, u64 first, u64 count);

/* The consumer has advanced its tail: moves spilled records into the ring and wakes producers. */
void gc_session_kick(struct gc_session *session);

__poll_t gc_session_poll(struct gc_session *session, struct file *file, poll_table *wait);
void gc_session_stats(struct gc_session *session, struct gc_stats *stats);

/* Makes poll(2) report EPOLLHUP: there will be no more records. */
void gc_session_hang_up(struct gc_session *session);

/* Count the mappings of the memory. The last unmapping makes poll(2) report EPOLLHUP. */
void gc_session_mapped(struct gc_session *session);
void gc_session_unmapped(struct gc_session *session);

#endif /* GC_SESSION_H */
