// SPDX-License-Identifier: GPL-2.0-only
#include <linux/atomic.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "kvm.h"
#include "track.h"

#define GC_TRACK_MAX_ENTRIES BIT(31)
/* For tracepoints: sessions have their numbers below. */
#define GC_TRACK_FIRST_ID BIT(16)

static struct gc_track *gc_to_track(struct gc_capture *capture)
{
	return container_of(capture, struct gc_track, capture);
}

/* The pages that are mapped together with one: 1 << order of them from page on. */
struct gc_block {
	u64 page;
	u64 address; /* of page */
	unsigned int order;
};

/* A huge page that is not all in the range counts as the one small page. */
static void gc_track_find_block(struct gc_track *track, u64 page, u64 address,
				struct gc_block *block)
{
	unsigned int order = gc_kvm_host_order(track->hook, address);
	u64 before = (address >> PAGE_SHIFT) & (BIT_ULL(order) - 1);
	u64 rest;

	*block = (struct gc_block){ .page = page, .address = address };
	if (!order || before > page ||
	    gc_ranges_page(&track->ranges, address - (before << PAGE_SHIFT)) != page - before)
		return;
	gc_ranges_address(&track->ranges, page - before, &rest);
	if (rest < BIT_ULL(order))
		return;
	block->page -= before;
	block->address -= before << PAGE_SHIFT;
	block->order = order;
}

/* From the hook */

void gc_track_fault(struct gc_track *track, u64 address, enum gc_kind kind, u32 vcpu)
{
	u64 page = gc_ranges_page(&track->ranges, address);
	struct gc_session *session = track->capture.session;
	struct gc_access access;
	struct gc_block block;

	if (page == GC_NO_PAGE || gc_session_is_touched(session, page))
		return;
	gc_track_find_block(track, page, address, &block);
	access = (struct gc_access){
		.page = block.page,
		.kind = kind,
		.order = block.order,
		.vcpu = vcpu,
	};
	if (!gc_session_touch(session, &access))
		gc_session_drop(session);
}

void gc_track_unresolved(struct gc_track *track)
{
	atomic64_inc(&track->unresolved);
}

void gc_track_unmapped(struct gc_track *track, u64 start, u64 end)
{
	u64 pages = gc_ranges_lose(&track->ranges, start, end);

	if (pages)
		atomic64_add(pages, &track->unmapped);
}

void gc_track_gone(struct gc_track *track)
{
	gc_session_hang_up(track->capture.session);
}

/* GC_TRACK_ORDER */

static int gc_track_zap(struct gc_capture *capture, u64 first, u64 count)
{
	struct gc_track *track = gc_to_track(capture);
	u64 address, pages;

	/* In this order: a fault in between is recorded, then comes again for nothing. */
	if (gc_session_rearm(capture->session, first, count))
		gc_kvm_settle(track->hook);
	for (; count; first += pages, count -= pages) {
		address = gc_ranges_address(&track->ranges, first, &pages);
		pages = min(pages, count);
		gc_kvm_zap(track->hook, address, pages << PAGE_SHIFT);
		cond_resched();
	}
	return 0;
}

/* GC_TRACK_AGE */

/*
 * Clears the accessed bits of the mapping that page is in, and records it if asked to. Returns how
 * many pages from page on are done.
 */
static u64 gc_track_age_block(struct gc_track *track, u64 page, struct gc_scan *scan)
{
	struct gc_block block;
	u64 address, rest;

	address = gc_ranges_address(&track->ranges, page, &rest);
	/* Of a range that is lost somebody else's memory may be there now. */
	if (gc_ranges_page(&track->ranges, address) == GC_NO_PAGE)
		return rest;
	gc_track_find_block(track, page, address, &block);
	rest = BIT_ULL(block.order) - (page - block.page);
	if (gc_kvm_age(track->hook, block.address, PAGE_SIZE << block.order) && scan) {
		const struct gc_access access = {
			.page = block.page,
			.kind = GC_KIND_ANY,
			.order = block.order,
			.vcpu = GC_NO_VCPU,
		};

		gc_session_report(track->capture.session, &access);
		scan->young += rest;
	}
	return rest;
}

/* Returns how many of the pages are done: all, unless the ring is full or a signal came. */
static u64 gc_track_age(struct gc_track *track, u64 first, u64 count, struct gc_scan *scan)
{
	u64 done = 0;

	while (done < count && !signal_pending(current)) {
		/* Before the bit is cleared: what was young must not be forgotten. */
		if (scan && !gc_session_can_report(track->capture.session))
			break;
		done += gc_track_age_block(track, first + done, scan);
		cond_resched();
	}
	return done;
}

static int gc_track_scan(struct gc_capture *capture, struct gc_scan *scan)
{
	struct gc_track *track = gc_to_track(capture);

	if (!gc_kvm_get_memory(track->hook))
		return -ESRCH;
	scan->young = 0;
	scan->scanned = gc_track_age(track, scan->first, scan->count, scan);
	gc_kvm_put_memory(track->hook);
	return 0;
}

static int gc_track_forget_age(struct gc_capture *capture, u64 first, u64 count)
{
	struct gc_track *track = gc_to_track(capture);
	u64 done;

	if (!gc_kvm_get_memory(track->hook))
		return -ESRCH;
	done = gc_track_age(track, first, count, NULL);
	gc_kvm_put_memory(track->hook);
	return done < count ? -EINTR : 0;
}

/* Both */

static void gc_track_stats(struct gc_capture *capture, struct gc_stats *stats)
{
	struct gc_track *track = gc_to_track(capture);

	stats->unresolved = atomic64_read(&track->unresolved);
	stats->unmapped = atomic64_read(&track->unmapped);
}

static void gc_track_remove(struct gc_capture *capture)
{
	struct gc_track *track = gc_to_track(capture);

	gc_kvm_detach(track->hook);
	gc_session_free(capture->session);
	kfree(track);
}

static const struct gc_capture_ops gc_track_order_ops = {
	.rearm = gc_track_zap,
	.stats = gc_track_stats,
	.remove = gc_track_remove,
};

static const struct gc_capture_ops gc_track_age_ops = {
	.rearm = gc_track_forget_age,
	.scan = gc_track_scan,
	.stats = gc_track_stats,
	.remove = gc_track_remove,
};

/* Returns 0 if there can be no such ring. */
static u32 gc_track_entries(const struct gc_track *track, u32 wanted)
{
	u64 all = min_t(u64, GC_TRACK_MAX_ENTRIES,
			roundup_pow_of_two(max_t(u64, track->ranges.pages, GC_RING_MIN_ENTRIES)));

	if (!wanted)
		return all;
	return wanted <= 2 * all ? wanted : 0;
}

static struct gc_track *gc_track_alloc(const struct gc_track_create *arg,
				       const struct gc_range *ranges)
{
	static atomic_t ids = ATOMIC_INIT(0);
	struct gc_track *track;
	u32 entries;
	int err;

	track = kzalloc(sizeof(*track), GFP_KERNEL_ACCOUNT);
	if (!track)
		return ERR_PTR(-ENOMEM);
	track->mode = arg->mode;
	track->capture.ops =
		arg->mode == GC_TRACK_ORDER ? &gc_track_order_ops : &gc_track_age_ops;
	err = gc_ranges_init(&track->ranges, ranges, arg->range_count);
	if (err)
		goto free;
	entries = gc_track_entries(track, arg->ring_entries);
	err = -ENOBUFS;
	if (!entries)
		goto free;
	track->capture.session = gc_session_alloc(GC_TRACK_FIRST_ID + atomic_fetch_inc(&ids),
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
				   const struct gc_range *ranges)
{
	struct gc_track *track;
	int err;

	if (arg->mode != GC_TRACK_ORDER && arg->mode != GC_TRACK_AGE)
		return ERR_PTR(-EINVAL);
	track = gc_track_alloc(arg, ranges);
	if (IS_ERR(track))
		return ERR_CAST(track);
	err = gc_kvm_attach(&track->hook, arg->kvm_fd, track, arg->mode == GC_TRACK_ORDER);
	if (err)
		goto free;
	err = track->capture.ops->rearm(&track->capture, 0, track->ranges.pages);
	if (err)
		goto detach;
	return &track->capture;

detach:
	gc_kvm_detach(track->hook);
free:
	gc_session_free(track->capture.session);
	kfree(track);
	return ERR_PTR(err);
}
