// SPDX-License-Identifier: GPL-2.0-only
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>

#include "compat.h"
#include "session.h"
#include "trace.h"

/*
 * Without a delay, a consumer that keeps up would find a record or two per poll(2): it would either
 * never sleep or be woken for each record, and both cost the guide more than its page faults do. So
 * poll(2) reports records this long after the first unread one, and at once when the ring is full.
 */
static unsigned int notify_delay_us = 200;
module_param(notify_delay_us, uint, 0644);
MODULE_PARM_DESC(notify_delay_us, "delay from a record until poll(2) reports it, in microseconds");

/* A record kept outside the full ring, for an access that could not wait. */
struct gc_spilled {
	struct list_head entry;
	struct gc_record record;
};

static void gc_session_notify(struct gc_session *session)
{
	WRITE_ONCE(session->readable, true);
	wake_up_poll(&session->consumers, EPOLLIN | EPOLLRDNORM);
}

static enum hrtimer_restart gc_session_notify_timer(struct hrtimer *timer)
{
	gc_session_notify(container_of(timer, struct gc_session, notify));
	return HRTIMER_NORESTART;
}

/* Schedules the notification of the consumer, unless it is already scheduled. */
static void gc_session_notify_later(struct gc_session *session)
{
	u64 delay = (u64)READ_ONCE(notify_delay_us) * NSEC_PER_USEC;

	lockdep_assert_held(&session->lock);
	if (!hrtimer_is_queued(&session->notify))
		hrtimer_start(&session->notify, ns_to_ktime(delay), HRTIMER_MODE_REL);
}

u64 gc_session_bytes(u64 pages, u32 entries)
{
	return sizeof(struct gc_session) + gc_pageset_bytes(pages) + gc_ring_bytes(entries);
}

struct gc_session *gc_session_alloc(u32 id, u64 pages, u32 entries)
{
	struct gc_session *session;
	int err;

	session = kzalloc(sizeof(*session), GFP_KERNEL_ACCOUNT);
	if (!session)
		return ERR_PTR(-ENOMEM);
	session->id = id;
	init_waitqueue_head(&session->producers);
	init_waitqueue_head(&session->consumers);
	hrtimer_setup(&session->notify, gc_session_notify_timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	spin_lock_init(&session->lock);
	INIT_LIST_HEAD(&session->spill);

	err = gc_pageset_init(&session->touched, pages);
	if (err)
		goto free_session;
	err = gc_ring_init(&session->ring, entries);
	if (err)
		goto free_pageset;
	trace_guidecopy_arm(id, 0, pages);
	return session;

free_pageset:
	gc_pageset_destroy(&session->touched);
free_session:
	kfree(session);
	return ERR_PTR(err);
}

void gc_session_free(struct gc_session *session)
{
	struct gc_spilled *spilled, *next;

	hrtimer_cancel(&session->notify);
	list_for_each_entry_safe(spilled, next, &session->spill, entry)
		kfree(spilled);
	gc_ring_destroy(&session->ring);
	gc_pageset_destroy(&session->touched);
	kfree(session);
}

void gc_session_kill(struct gc_session *session)
{
	spin_lock(&session->lock);
	session->dead = true;
	spin_unlock(&session->lock);
	wake_up_all(&session->producers);
}

bool gc_session_is_dead(struct gc_session *session)
{
	return READ_ONCE(session->dead);
}

static void gc_session_update_kick(struct gc_session *session)
{
	lockdep_assert_held(&session->lock);
	gc_ring_want_kick(&session->ring, session->waiting + session->spill_length);
}

/* Publishes the ring's next slot and makes sure that the consumer is notified. */
static void gc_session_publish(struct gc_session *session)
{
	lockdep_assert_held(&session->lock);
	gc_ring_publish(&session->ring);
	if (!READ_ONCE(session->readable))
		gc_session_notify_later(session);
}

/* Moves spilled records into the ring. Returns false if some remain. */
static bool gc_session_drain(struct gc_session *session)
{
	struct gc_spilled *spilled, *next;

	lockdep_assert_held(&session->lock);
	list_for_each_entry_safe(spilled, next, &session->spill, entry) {
		if (!gc_ring_has_room(&session->ring))
			return false;
		*gc_ring_slot(&session->ring) = spilled->record;
		gc_session_publish(session);
		list_del(&spilled->entry);
		kfree(spilled);
		session->spill_length--;
		if (!session->spill_length)
			gc_session_update_kick(session);
	}
	return true;
}

/* Returns whether a new record can be published. Spilled records go first. */
static inline bool gc_session_has_room(struct gc_session *session)
{
	lockdep_assert_held(&session->lock);
	if (unlikely(!list_empty(&session->spill)) && !gc_session_drain(session))
		return false;
	return gc_ring_has_room(&session->ring);
}

/* Fills in a slot of the ring or a spilled record, neither of which can be lost any more. */
static __always_inline void gc_session_record(struct gc_session *session, struct gc_record *record,
					      const struct gc_access *access)
{
	/* The clock is read under the lock, so that times in the ring never decrease. */
	lockdep_assert_held(&session->lock);
	record->page = access->page;
	record->time_ns = ktime_get_ns();
	record->tid = task_pid_nr(current);
	record->kind = access->kind;
	record->order = access->order;
	record->vcpu = access->vcpu;
	record->reserved = 0;
	session->records++;
	trace_guidecopy_record(session->id, access->page, access->kind);
}

static __always_inline void gc_session_add(struct gc_session *session,
					   const struct gc_access *access)
{
	lockdep_assert_held(&session->lock);
	gc_session_record(session, gc_ring_slot(&session->ring), access);
	gc_session_publish(session);
}

static bool gc_session_needs_record(struct gc_session *session, const struct gc_access *access)
{
	lockdep_assert_held(&session->lock);
	return !session->dead &&
	       !gc_pageset_test_all(&session->touched, access->page, BIT_ULL(access->order));
}

bool gc_session_touch(struct gc_session *session, const struct gc_access *access)
{
	bool done = true;

	if (!access->order && gc_session_is_touched(session, access->page))
		return true;

	spin_lock(&session->lock);
	if (!gc_session_needs_record(session, access))
		goto unlock;
	done = gc_session_has_room(session);
	if (likely(done)) {
		gc_session_add(session, access);
		gc_pageset_set(&session->touched, access->page, BIT_ULL(access->order));
	}
unlock:
	spin_unlock(&session->lock);
	return done;
}

int gc_session_spill(struct gc_session *session, const struct gc_access *access)
{
	struct gc_spilled *spilled;

	spilled = kmalloc(sizeof(*spilled), GFP_KERNEL_ACCOUNT);
	if (!spilled)
		return -ENOMEM;

	spin_lock(&session->lock);
	if (!gc_session_needs_record(session, access)) {
		spin_unlock(&session->lock);
		kfree(spilled);
		return 0;
	}
	gc_session_record(session, &spilled->record, access);
	list_add_tail(&spilled->entry, &session->spill);
	session->spill_length++;
	session->spilled++;
	gc_pageset_set(&session->touched, access->page, BIT_ULL(access->order));
	gc_session_update_kick(session);
	spin_unlock(&session->lock);
	/* The consumer may have freed slots before it could see kick_wanted. */
	gc_session_kick(session);
	return 0;
}

void gc_session_drop(struct gc_session *session)
{
	spin_lock(&session->lock);
	session->dropped++;
	spin_unlock(&session->lock);
}

bool gc_session_can_report(struct gc_session *session)
{
	bool room;

	spin_lock(&session->lock);
	room = gc_session_has_room(session);
	spin_unlock(&session->lock);
	return room;
}

void gc_session_report(struct gc_session *session, const struct gc_access *access)
{
	spin_lock(&session->lock);
	if (gc_session_has_room(session))
		gc_session_add(session, access);
	else
		session->dropped++;
	spin_unlock(&session->lock);
}

static bool gc_session_can_proceed(struct gc_session *session)
{
	bool ready;

	spin_lock(&session->lock);
	ready = session->dead || gc_session_has_room(session);
	spin_unlock(&session->lock);
	return ready;
}

void gc_session_wait(struct gc_session *session, u64 page, unsigned int state)
{
	u64 slept;

	spin_lock(&session->lock);
	session->waiting++;
	session->blocked++;
	gc_session_update_kick(session);
	spin_unlock(&session->lock);

	gc_session_notify(session);
	slept = ktime_get_ns();
	/* A signal ends the wait, too; the fault's caller handles it. */
	(void)wait_event_state(session->producers, gc_session_can_proceed(session), state);
	slept = ktime_get_ns() - slept;

	spin_lock(&session->lock);
	session->waiting--;
	session->blocked_ns += slept;
	gc_session_update_kick(session);
	spin_unlock(&session->lock);
	trace_guidecopy_block(session->id, page, slept);
}

s64 gc_session_rearm(struct gc_session *session, u64 first, u64 count)
{
	u64 batch, cleared, total = 0;

	trace_guidecopy_arm(session->id, first, count);
	for (; count; first += batch, count -= batch) {
		if (fatal_signal_pending(current))
			return -EINTR;
		batch = min_t(u64, count, GC_REARM_BATCH);
		spin_lock(&session->lock);
		cleared = gc_pageset_clear(&session->touched, first, batch);
		session->rearmed += cleared;
		spin_unlock(&session->lock);
		total += cleared;
		cond_resched();
	}
	return total;
}

void gc_session_kick(struct gc_session *session)
{
	if (gc_session_can_proceed(session))
		wake_up_all(&session->producers);
}

/*
 * Returns whether to report unread records now. Once the consumer has read some of the records
 * reported, the rest are reported together with later ones, after the delay. The timer may set
 * readable at any time: reporting too early is harmless, and if this returns false, either there is
 * no record or the timer runs.
 */
static bool gc_session_poll_readable(struct gc_session *session)
{
	u64 tail = gc_ring_user_tail(&session->ring);

	lockdep_assert_held(&session->lock);
	if (tail != session->polled_tail || tail == session->ring.head)
		WRITE_ONCE(session->readable, false);
	session->polled_tail = tail;
	if (tail == session->ring.head)
		return false;
	if (!READ_ONCE(session->readable))
		gc_session_notify_later(session);
	return READ_ONCE(session->readable);
}

__poll_t gc_session_poll(struct gc_session *session, struct file *file, poll_table *wait)
{
	__poll_t events = 0;

	poll_wait(file, &session->consumers, wait);
	gc_session_kick(session);
	spin_lock(&session->lock);
	if (gc_session_poll_readable(session))
		events |= EPOLLIN | EPOLLRDNORM;
	if (session->hung_up || (session->was_mapped && !session->mappings))
		events |= EPOLLHUP;
	spin_unlock(&session->lock);
	return events;
}

void gc_session_stats(struct gc_session *session, struct gc_stats *stats)
{
	spin_lock(&session->lock);
	stats->pages = session->touched.pages;
	stats->touched = session->touched.set;
	stats->records = session->records;
	stats->rearmed = session->rearmed;
	stats->blocked = session->blocked;
	stats->blocked_ns = session->blocked_ns;
	stats->spilled = session->spilled;
	stats->dropped = session->dropped;
	stats->garbage = session->ring.garbage;
	stats->waiting = session->waiting;
	stats->mappings = session->mappings;
	spin_unlock(&session->lock);
}

void gc_session_hang_up(struct gc_session *session)
{
	spin_lock(&session->lock);
	session->hung_up = true;
	spin_unlock(&session->lock);
	wake_up_poll(&session->consumers, EPOLLHUP);
}

void gc_session_mapped(struct gc_session *session)
{
	spin_lock(&session->lock);
	session->was_mapped = true;
	session->mappings++;
	spin_unlock(&session->lock);
}

void gc_session_unmapped(struct gc_session *session)
{
	bool last;

	spin_lock(&session->lock);
	last = !--session->mappings;
	spin_unlock(&session->lock);
	if (last)
		wake_up_poll(&session->consumers, EPOLLHUP);
}
