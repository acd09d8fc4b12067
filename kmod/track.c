// SPDX-License-Identifier: GPL-2.0-only
#include <linux/atomic.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "ranges.h"
#include "track.h"

/* Blocks aged under one lock of the process's memory: bounds the time that its mmap(2) waits. */
#define GC_AGE_BATCH 256

struct gc_track {
	struct gc_capture capture;
	struct gc_vm *vm;
	struct gc_ranges ranges;
	atomic64_t unresolved;
	atomic64_t unmapped;
};

static struct gc_track *gc_to_track(struct gc_capture *capture)
{
	return container_of(capture, struct gc_track, capture);
}

/* Pages that the host maps as one: 1 << order of them, from page on. */
struct gc_block {
	u64 page;
	u64 address; /* of page */
	unsigned int order;
};

/*
 * Finds the block that page is in, of which the host maps order. A huge page that crosses its range
 * counts as a small one.
 */
static void gc_track_find_block(struct gc_track *track, u64 page, u64 address, unsigned int order,
				struct gc_block *block)
{
	u64 before = (address >> PAGE_SHIFT) & (BIT_ULL(order) - 1);
	u64 remaining;

	*block = (struct gc_block){ .page = page, .address = address };
	if (!order || before > page)
		return;
	/* If page - before is in an earlier range, at most `before` pages remain in that. */
	gc_ranges_address(&track->ranges, page - before, &remaining);
	if (remaining < BIT_ULL(order))
		return;
	block->page -= before;
	block->address -= before << PAGE_SHIFT;
	block->order = order;
}

/* Events of the VM */

static void gc_track_fault(void *data, u64 address, enum gc_kind kind, u32 vcpu)
{
	struct gc_track *track = data;
	u64 page = gc_ranges_page(&track->ranges, address);
	struct gc_session *session = track->capture.session;
	struct gc_access access;
	struct gc_block block;

	if (page == GC_NO_PAGE || gc_session_is_touched(session, page))
		return;
	gc_track_find_block(track, page, address, track->vm->ops->fault_order(track->vm, address),
			    &block);
	access = (struct gc_access){
		.page = block.page,
		.kind = kind,
		.order = block.order,
		.vcpu = vcpu,
	};
	if (!gc_session_touch(session, &access))
		gc_session_drop(session);
}

static void gc_track_unresolved(void *data)
{
	struct gc_track *track = data;

	atomic64_inc(&track->unresolved);
}

static void gc_track_unmapped(void *data, u64 start, u64 end)
{
	struct gc_track *track = data;
	u64 pages = gc_ranges_unmap(&track->ranges, start, end);

	if (pages)
		atomic64_add(pages, &track->unmapped);
}

static void gc_track_gone(void *data)
{
	struct gc_track *track = data;

	gc_session_hang_up(track->capture.session);
}

static const struct gc_vm_events gc_track_order_events = {
	.fault = gc_track_fault,
	.unresolved = gc_track_unresolved,
	.unmapped = gc_track_unmapped,
	.gone = gc_track_gone,
};

static const struct gc_vm_events gc_track_age_events = {
	.unmapped = gc_track_unmapped,
	.gone = gc_track_gone,
};

/* GC_TRACK_ORDER */

static int gc_track_rearm_order(struct gc_capture *capture, u64 first, u64 count)
{
	struct gc_track *track = gc_to_track(capture);
	u64 address, pages;
	s64 touched;

	/* Zap last: a fault in between is recorded, and merely faults once more. */
	touched = gc_session_rearm(capture->session, first, count);
	if (touched < 0)
		return touched;
	if (touched)
		track->vm->ops->drain_faults(track->vm);
	for (; count; first += pages, count -= pages) {
		if (fatal_signal_pending(current))
			return -EINTR;
		address = gc_ranges_address(&track->ranges, first, &pages);
		pages = min(pages, count);
		track->vm->ops->zap(track->vm, address, pages << PAGE_SHIFT);
		cond_resched();
	}
	return 0;
}

/* GC_TRACK_AGE */

/*
 * Clears the accessed bits of the block that page is in. With scan, records the block if one was
 * set. Returns the number of pages done, from page on.
 */
static u64 gc_track_age_block(struct gc_track *track, u64 page, struct gc_scan *scan)
{
	struct gc_block block;
	u64 address, remaining;

	address = gc_ranges_address(&track->ranges, page, &remaining);
	/* Other memory may be mapped in an unmapped range by now. */
	if (gc_ranges_page(&track->ranges, address) == GC_NO_PAGE)
		return remaining;
	gc_track_find_block(track, page, address, track->vm->ops->host_order(track->vm, address),
			    &block);
	remaining = BIT_ULL(block.order) - (page - block.page);
	if (track->vm->ops->age(track->vm, block.address, PAGE_SIZE << block.order) && scan) {
		const struct gc_access access = {
			.page = block.page,
			.kind = GC_KIND_ANY,
			.order = block.order,
			.vcpu = GC_NO_VCPU,
		};

		gc_session_report(track->capture.session, &access);
		scan->young += remaining;
	}
	return remaining;
}

/* As gc_track_age(), for at most GC_AGE_BATCH blocks. */
static int gc_track_age_batch(struct gc_track *track, u64 first, u64 count, struct gc_scan *scan,
			      u64 *done)
{
	unsigned int blocks;
	int err;

	err = track->vm->ops->lock_memory(track->vm);
	if (err)
		return err;
	for (blocks = 0; blocks < GC_AGE_BATCH && *done < count; blocks++) {
		if (signal_pending(current))
			break;
		/* Checked before the bit is cleared, so that no access is lost. */
		if (scan && !gc_session_can_report(track->capture.session))
			break;
		*done += gc_track_age_block(track, first + *done, scan);
	}
	track->vm->ops->unlock_memory(track->vm);
	return 0;
}

/* Sets *done to the pages done: less than count if the ring is full or a signal is pending. */
static int gc_track_age(struct gc_track *track, u64 first, u64 count, struct gc_scan *scan,
			u64 *done)
{
	u64 before;
	int err;

	*done = 0;
	do {
		before = *done;
		err = gc_track_age_batch(track, first, count, scan, done);
		if (err)
			return err;
		cond_resched();
	} while (*done < count && *done > before);
	return 0;
}

static int gc_track_scan(struct gc_capture *capture, struct gc_scan *scan)
{
	struct gc_track *track = gc_to_track(capture);

	scan->young = 0;
	return gc_track_age(track, scan->first, scan->count, scan, &scan->scanned);
}

static int gc_track_rearm_age(struct gc_capture *capture, u64 first, u64 count)
{
	struct gc_track *track = gc_to_track(capture);
	u64 done;
	int err;

	err = gc_track_age(track, first, count, NULL, &done);
	if (err)
		return err;
	return done < count ? -EINTR : 0;
}

/* Both modes */

static void gc_track_stats(struct gc_capture *capture, struct gc_stats *stats)
{
	struct gc_track *track = gc_to_track(capture);

	stats->unresolved = atomic64_read(&track->unresolved);
	stats->unmapped = atomic64_read(&track->unmapped);
}

static void gc_track_remove(struct gc_capture *capture)
{
	struct gc_track *track = gc_to_track(capture);

	track->vm->ops->detach(track->vm);
	gc_session_free(capture->session);
	kfree(track);
}

static const struct gc_capture_ops gc_track_order_ops = {
	.rearm = gc_track_rearm_order,
	.stats = gc_track_stats,
	.remove = gc_track_remove,
};

static const struct gc_capture_ops gc_track_age_ops = {
	.rearm = gc_track_rearm_age,
	.scan = gc_track_scan,
	.stats = gc_track_stats,
	.remove = gc_track_remove,
};

/* Returns the capacity of the ring, or 0 if requested is too large. */
static u32 gc_track_entries(const struct gc_track *track, u32 requested, u32 max)
{
	u64 all = roundup_pow_of_two(max_t(u64, track->ranges.pages, GC_RING_MIN_ENTRIES));

	if (!requested)
		return min_t(u64, all, max);
	return requested <= min_t(u64, 2 * all, max) ? requested : 0;
}

static struct gc_track *gc_track_alloc(const struct gc_track_create *arg,
				       const struct gc_range *ranges,
				       const struct gc_track_limits *limits)
{
	static atomic_t ids = ATOMIC_INIT(0);
	struct gc_track *track;
	u32 entries;
	int err;

	track = kzalloc(sizeof(*track), GFP_KERNEL_ACCOUNT);
	if (!track)
		return ERR_PTR(-ENOMEM);
	track->capture.ops =
		arg->mode == GC_TRACK_ORDER ? &gc_track_order_ops : &gc_track_age_ops;
	err = gc_ranges_init(&track->ranges, ranges, arg->range_count);
	if (err)
		goto free;
	entries = gc_track_entries(track, arg->ring_entries, limits->max_entries);
	err = -ENOBUFS;
	if (!entries)
		goto free;
	err = limits->charge(limits->data, gc_session_bytes(track->ranges.pages, entries));
	if (err)
		goto free;
	track->capture.session = gc_session_alloc(GC_TRACK_ID(atomic_inc_return(&ids)),
						  track->ranges.pages, entries);
	err = PTR_ERR_OR_ZERO(track->capture.session);
	if (err)
		goto free;
	return track;

free:
	kfree(track);
	return ERR_PTR(err);
}

struct gc_capture *gc_track_create(const struct gc_track_create *arg,
				   const struct gc_range *ranges, gc_vm_attach_t attach,
				   const struct gc_track_limits *limits)
{
	const struct gc_vm_events *events =
		arg->mode == GC_TRACK_ORDER ? &gc_track_order_events : &gc_track_age_events;
	struct gc_track *track;
	int err;

	if (arg->mode != GC_TRACK_ORDER && arg->mode != GC_TRACK_AGE)
		return ERR_PTR(-EINVAL);
	track = gc_track_alloc(arg, ranges, limits);
	if (IS_ERR(track))
		return ERR_CAST(track);
	err = attach(&track->vm, arg->kvm_fd, events, track);
	if (err)
		goto free;
	err = track->capture.ops->rearm(&track->capture, 0, track->ranges.pages);
	if (err)
		goto detach;
	return &track->capture;

detach:
	track->vm->ops->detach(track->vm);
free:
	gc_session_free(track->capture.session);
	kfree(track);
	return ERR_PTR(err);
}
