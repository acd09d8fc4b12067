/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The engine: a set of pages, a ring, and the rule that joins them: the first touch of a page is
 * one record, in the ring before the touch goes on. Knows nothing of mm or devices; a hook that
 * sees accesses (node.c, track.c) calls gc_session_touch().
 *
 *	hook:	gc_session_touch() --true--> let the access go on
 *		  | false: ring full
 *		  +- may sleep:   gc_session_wait(), then try again
 *		  +- may not:     gc_session_spill(), let the access go on
 *		  +- may neither: gc_session_drop(): it is lost, and counted
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

/* Pages re-armed per holding of the lock: what an access may have to wait for. */
#define GC_REARM_BATCH 4096

/* What a record says, but for the time and the thread. */
struct gc_access {
	u64 page; /* the first of 1 << order pages */
	enum gc_kind kind;
	unsigned int order;
	u32 vcpu;
};

struct gc_session {
	u32 id; /* for tracepoints */
	wait_queue_head_t producers; /* wait for room in the ring */
	wait_queue_head_t consumers; /* poll */
	struct hrtimer notify; /* sets readable; started under the lock, takes none of ours */
	bool readable; /* what poll says while there are records; set by anybody */

	spinlock_t lock; /* protects all below */
	u64 polled_tail; /* what the consumer had read when it last called poll */
	struct gc_pageset touched;
	struct gc_ring ring;
	struct list_head spill; /* struct gc_spilled: records that come before any new one */
	u32 spill_length;
	u32 waiting;
	bool dead;
	bool gone; /* nothing can be accessed any more */
	bool was_mapped;
	u64 mappings;
	u64 records;
	u64 rearmed;
	u64 blocked;
	u64 blocked_ns;
	u64 spilled;
	u64 dropped;
};

struct gc_session *gc_session_alloc(u32 id, u64 pages, u32 entries);
void gc_session_free(struct gc_session *session);

/* From now on nothing is recorded and nobody waits. */
void gc_session_kill(struct gc_session *session);
bool gc_session_is_dead(struct gc_session *session);

/* Whether touching the page makes no record. */
static inline bool gc_session_is_touched(const struct gc_session *session, u64 page)
{
	return gc_pageset_test(&session->touched, page);
}

/* False: the ring is full and nothing has happened. */
bool gc_session_touch(struct gc_session *session, const struct gc_access *access);

/* Sleeps until there is room, the session is dead, or a signal that state allows comes. */
void gc_session_wait(struct gc_session *session, u64 page, unsigned int state);

/* The touch of one who can neither wait nor be lost. Returns -ENOMEM, and nothing has happened. */
int gc_session_spill(struct gc_session *session, const struct gc_access *access);

/* A touch is lost. */
void gc_session_drop(struct gc_session *session);

/* A record of pages that were found accessed, whether touched or not. */
bool gc_session_can_report(struct gc_session *session);
void gc_session_report(struct gc_session *session, const struct gc_access *access);

/*
 * Arms pages again, and returns how many were touched. The caller unmaps them afterwards; and if
 * there were any, it first waits for accesses that are recorded already and not yet through: what
 * they map would stay mapped, and hide what follows.
 */
u64 gc_session_rearm(struct gc_session *session, u64 first, u64 count);

/* The consumer has advanced. */
void gc_session_kick(struct gc_session *session);

__poll_t gc_session_poll(struct gc_session *session, struct file *file, poll_table *wait);
void gc_session_stats(struct gc_session *session, struct gc_stats *stats);

/* There will be no more records, and poll says so. */
void gc_session_hang_up(struct gc_session *session);

/* A mapping of the memory came or went. */
void gc_session_mapped(struct gc_session *session);
void gc_session_unmapped(struct gc_session *session);

#endif /* GC_SESSION_H */
