/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A track: which pages of a running VM its vCPUs access. It joins an engine (session.c), the
 * numbers of the pages (ranges.c) and the hook into the VM (kvm.c).
 */
#ifndef GC_TRACK_H
#define GC_TRACK_H

#include <linux/atomic.h>

#include "capture.h"
#include "ranges.h"

struct gc_kvm;

struct gc_track {
	struct gc_capture capture;
	struct gc_kvm *hook;
	enum gc_track_mode mode;
	struct gc_ranges ranges;
	atomic64_t unresolved;
	atomic64_t unmapped;
};

/* ranges: of arg, in kernel memory. Errors: those of GC_IOC_TRACK_CREATE. */
struct gc_capture *gc_track_create(const struct gc_track_create *arg,
				   const struct gc_range *ranges);

/*
 * From the hook. The first is called by the thread of a vCPU, which it may not delay, with
 * preemption off; the others by anybody, and none of them sleeps.
 */
void gc_track_fault(struct gc_track *track, u64 address, enum gc_kind kind, u32 vcpu);
void gc_track_unresolved(struct gc_track *track);
void gc_track_unmapped(struct gc_track *track, u64 start, u64 end);
void gc_track_gone(struct gc_track *track);

#endif /* GC_TRACK_H */
